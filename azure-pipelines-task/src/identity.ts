/** Turn the service connection into the environment with which acr-cleanup logs in. */

import * as fs from "fs";
import * as path from "path";
import * as tl from "azure-pipelines-task-lib/task";
import { Problem } from "./problem";

export const CONNECTION = "connectedServiceNameARM";

export interface Identity {
  /** The input auth-type. No other login is tried. */
  readonly authType: "azure-pipelines" | "environment" | "managed-identity";
  readonly environment: Record<string, string>;
  /** Files with secrets that the child must be able to read. */
  readonly files: string[];
}

/** The names of the clouds in Terraform. The configuration file may name another cloud. */
const CLOUDS: Record<string, string> = {
  azurecloud: "public",
  azureusgovernment: "usgovernment",
  azurechinacloud: "china",
};

/**
 * Returns the identity of the service connection. Its secrets are masked before anything can print
 * them.
 */
export function readIdentity(temporary: string): Identity {
  const connection = tl.getInput(CONNECTION);
  if (!connection) {
    throw new Problem(
      "azureSubscription is not set.",
      "Set it to an Azure Resource Manager service connection of this project.",
    );
  }
  const scheme = (tl.getEndpointAuthorizationScheme(connection, true) ?? "").toLowerCase();
  const parameters = authorization(connection);
  const tenant = parameters("tenantid");
  const client = parameters("serviceprincipalid");
  const environment: Record<string, string> = {};
  const cloud = CLOUDS[(tl.getEndpointDataParameter(connection, "environment", true) ?? "").toLowerCase()];
  if (cloud) environment["ARM_ENVIRONMENT"] = cloud;

  if (scheme === "managedserviceidentity") {
    const assigned = client || tl.getEndpointDataParameter(connection, "msiclientId", true);
    if (assigned) environment["AZURE_CLIENT_ID"] = assigned;
    return { authType: "managed-identity", environment, files: [] };
  }
  if (scheme !== "workloadidentityfederation" && scheme !== "serviceprincipal") {
    throw new Problem(
      `The service connection uses '${scheme || "nothing"}', which is not a login to Azure Resource Manager.`,
      "Use a connection with workload identity federation, a service principal or a managed identity.",
    );
  }
  if (!tenant || !client) {
    throw new Problem(
      `The service connection has no ${tenant ? "application (serviceprincipalid)" : "tenant (tenantid)"}.`,
      "Open it in the settings of the project, then verify and save it.",
    );
  }
  environment["AZURE_TENANT_ID"] = tenant;
  environment["AZURE_CLIENT_ID"] = client;
  if (scheme === "workloadidentityfederation") {
    return { authType: "azure-pipelines", environment: { ...environment, ...federation(connection, tenant, client) }, files: [] };
  }
  if (parameters("authenticationtype").toLowerCase() === "spncertificate") {
    const file = certificate(parameters("serviceprincipalcertificate"), temporary);
    environment["AZURE_CLIENT_CERTIFICATE_PATH"] = file;
    return { authType: "environment", environment, files: [file] };
  }
  const secret = parameters("serviceprincipalkey");
  if (!secret) {
    throw new Problem(
      "The service connection has no key of its service principal.",
      "Convert it to workload identity federation, or add a new key.",
    );
  }
  mask(secret);
  environment["AZURE_CLIENT_SECRET"] = secret;
  return { authType: "environment", environment, files: [] };
}

/**
 * Returns the variables for requesting tokens. acr-cleanup requests a new one each time: they are
 * valid for minutes.
 */
function federation(connection: string, tenant: string, client: string): Record<string, string> {
  // Never construct it: it differs between builds and releases.
  const uri = tl.getVariable("System.OidcRequestUri");
  if (!uri) {
    throw new Problem(
      "This job has no System.OidcRequestUri, so it cannot use the federation of the service connection.",
      "Update the agent (and Azure DevOps Server), or use a service connection with a key or a managed identity.",
    );
  }
  // The token of the agent, not the variable: the author of the pipeline must map the variable.
  const token = authorization("SYSTEMVSSCONNECTION")("accesstoken");
  if (!token) {
    throw new Problem(
      "The job has no access token (System.AccessToken), so it cannot request a token of the service connection.",
      "Run the task in an agent job, not in a server job, and check the job authorization settings of the project.",
    );
  }
  mask(token);
  return {
    SYSTEM_OIDCREQUESTURI: uri,
    SYSTEM_ACCESSTOKEN: token,
    AZURESUBSCRIPTION_SERVICE_CONNECTION_ID: connection,
    AZURESUBSCRIPTION_TENANT_ID: tenant,
    AZURESUBSCRIPTION_CLIENT_ID: client,
  };
}

function certificate(pem: string, temporary: string): string {
  if (!pem.includes("PRIVATE KEY") || !pem.includes("CERTIFICATE")) {
    throw new Problem(
      "The certificate of the service connection is not a PEM text with a certificate and its private key.",
      "Save it again in the service connection, or convert the connection to workload identity federation.",
    );
  }
  mask(pem);
  const folder = fs.mkdtempSync(path.join(temporary, "acr-cleanup-login-"));
  const file = path.join(folder, "certificate.pem");
  fs.writeFileSync(file, pem.endsWith("\n") ? pem : `${pem}\n`, { mode: 0o600, flag: "wx" });
  return file;
}

/** Remove the files with secrets, which would remain on a self-hosted agent. */
export function forget(identity: Identity): void {
  for (const file of identity.files) fs.rmSync(path.dirname(file), { recursive: true, force: true });
}

/**
 * Mask a secret. The agent masks single lines, so each line is masked unless it is too short to be
 * distinctive.
 */
export function mask(secret: string): void {
  for (const line of secret.split(/[\r\n]+/)) {
    if (line.trim().length >= 8 || (line.trim() && line === secret)) tl.setSecret(line.trim());
  }
}

/**
 * Returns the parameters of a connection by lower-case name. `getEndpointAuthorizationParameter`
 * would print the values.
 */
function authorization(connection: string): (name: string) => string {
  const entries = Object.entries(tl.getEndpointAuthorization(connection, true)?.parameters ?? {});
  const parameters = new Map(entries.map(([name, value]) => [name.toLowerCase(), String(value ?? "").trim()]));
  return (name) => parameters.get(name) ?? "";
}
