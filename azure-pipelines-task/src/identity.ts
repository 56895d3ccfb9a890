/** The identity of the service connection, as the environment that acr-cleanup logs in with. */

import * as fs from "fs";
import * as path from "path";
import * as tl from "azure-pipelines-task-lib/task";
import { Problem } from "./problem";

export const CONNECTION = "connectedServiceNameARM";

export interface Identity {
  /** The input auth-type: the one login that is tried. */
  readonly authType: "azure-pipelines" | "environment" | "managed-identity";
  readonly environment: Record<string, string>;
  /** Files that the child must be able to read. They hold secrets. */
  readonly files: string[];
}

/** As Terraform spells the clouds. A file of ours may still say otherwise. */
const CLOUDS: Record<string, string> = {
  azurecloud: "public",
  azureusgovernment: "usgovernment",
  azurechinacloud: "china",
};

/** The identity that the pipeline names. Everything secret of it is masked before anybody can print it. */
export function readIdentity(temporary: string): Identity {
  const connection = tl.getInput(CONNECTION);
  if (!connection) {
    throw new Problem(
      "azureSubscription names no service connection.",
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
      `The service connection logs in by '${scheme || "nothing"}', which is no login to Azure Resource Manager.`,
      "Use a connection with workload identity federation, a service principal or a managed identity.",
    );
  }
  if (!tenant || !client) {
    throw new Problem(
      `The service connection names no ${tenant ? "application (serviceprincipalid)" : "tenant (tenantid)"}.`,
      "Open it in the settings of the project, and verify and save it again.",
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
      "The service connection holds no key of its service principal.",
      "Convert it to workload identity federation, or give it a new key.",
    );
  }
  mask(secret);
  environment["AZURE_CLIENT_SECRET"] = secret;
  return { authType: "environment", environment, files: [] };
}

/** What a token of this job is asked for with. acr-cleanup asks for a fresh one each time: they live for minutes. */
function federation(connection: string, tenant: string, client: string): Record<string, string> {
  // Never put together by hand: it differs between builds and releases.
  const uri = tl.getVariable("System.OidcRequestUri");
  if (!uri) {
    throw new Problem(
      "The agent gives this job no System.OidcRequestUri, so the service connection's federation cannot be used.",
      "Update the agent (and Azure DevOps Server), or use a service connection with a key or a managed identity.",
    );
  }
  // The token of the job itself, not the variable: that one has to be mapped by whoever writes the pipeline.
  const token = authorization("SYSTEMVSSCONNECTION")("accesstoken");
  if (!token) {
    throw new Problem(
      "The job has no access token (System.AccessToken), which it would ask for the token of the service connection with.",
      "Run the task on an agent in a job of its own (not in a server job), and look whether the job authorization of the project forbids it.",
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
      "The service connection's certificate is not a PEM text with a certificate and its private key.",
      "Save it in the service connection again, or convert the connection to workload identity federation.",
    );
  }
  mask(pem);
  const folder = fs.mkdtempSync(path.join(temporary, "acr-cleanup-login-"));
  const file = path.join(folder, "certificate.pem");
  fs.writeFileSync(file, pem.endsWith("\n") ? pem : `${pem}\n`, { mode: 0o600, flag: "wx" });
  return file;
}

/** Nothing of a secret stays behind on an agent of one's own. */
export function forget(identity: Identity): void {
  for (const file of identity.files) fs.rmSync(path.dirname(file), { recursive: true, force: true });
}

/** The agent masks lines: of a text of several, each is masked that could be told from others. */
export function mask(secret: string): void {
  for (const line of secret.split(/[\r\n]+/)) {
    if (line.trim().length >= 8 || (line.trim() && line === secret)) tl.setSecret(line.trim());
  }
}

/** The parameters of a connection, by their names in lower case. Not by `getEndpointAuthorizationParameter`: it prints what it reads. */
function authorization(connection: string): (name: string) => string {
  const found = Object.entries(tl.getEndpointAuthorization(connection, true)?.parameters ?? {});
  const parameters = new Map(found.map(([name, value]) => [name.toLowerCase(), String(value ?? "").trim()]));
  return (name) => parameters.get(name) ?? "";
}
