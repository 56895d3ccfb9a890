/**
 * The handler on the mocked task library: inputs, identities, and methods that cannot run. Nothing
 * is downloaded.
 */

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { completed, issues, Job, MOCKED, Outcome, result, secrets, TOKEN } from "./support";

let job: Job;
beforeEach(() => void (job = new Job()));
afterEach(() => job.remove());

/** Run the handler with these programs on the PATH. */
function run(...programs: string[]): Promise<Outcome> {
  const which = Object.fromEntries(programs.map((name) => [name, path.join(job.bin, name)]));
  job.variables["MOCK_ANSWERS"] = JSON.stringify({ which });
  return job.start(MOCKED);
}

test("inputs are passed in one variable, by the names of acr-cleanup", async () => {
  job.docker({ result: result() });
  fs.writeFileSync(path.join(job.workspace, "acr-cleanup.json"), "{}");
  job.input("configFile", path.join(job.workspace, "acr-cleanup.json")); // the agent makes paths absolute
  job.input("applyPlan", job.workspace); // not set: the agent replaces it by the folder of the sources
  job.input("dryRun", "True").input("olderThan", " 14d ").input("clusters", "/one\n/two\n").input("verify", "FALSE").input("publishSummary", "true");
  const outcome = await run("docker");
  assert.equal(completed(outcome).properties["result"], "Succeeded");
  assert.deepEqual(job.inputs, {
    "config-file": "acr-cleanup.json", "dry-run": "true", "older-than": "14d", clusters: "/one\n/two", verify: "false", summary: "true", "auth-type": "azure-pipelines",
  });
});

test("inputs that exceed a variable are refused before anything runs", async () => {
  job.docker({ result: result() }).input("clusters", "/subscriptions/x\n".repeat(7500));
  const outcome = await run("docker");
  assert.match(completed(outcome).data, /inputs take \d+ bytes.*configFile/);
  assert.ok(!job.calls.some(({ argv }) => argv[0] === "run"));
});

test("workload identity federation passes on the variables for requesting tokens", async () => {
  job.docker({ result: result() }).variables["AZURE_CLIENT_SECRET"] = "of another login";
  const outcome = await run("docker");
  const { environment } = job.played;
  assert.equal(environment["SYSTEM_ACCESSTOKEN"], TOKEN);
  assert.equal(environment["SYSTEM_OIDCREQUESTURI"], "https://dev.azure.com/contoso/oidctoken");
  assert.equal(environment["AZURE_TENANT_ID"], "the-tenant");
  assert.equal(environment["AZURESUBSCRIPTION_CLIENT_ID"], "the-client");
  assert.equal(environment["AZURE_CLIENT_SECRET"], undefined);
  assert.deepEqual(secrets(outcome), [TOKEN]);
  assert.equal(outcome.stdout.split(TOKEN).length, 2, "only in the command that masks it");
});

test("the key of a service principal is masked and only in its variable", async () => {
  job.docker({ result: result() }).connect("ServicePrincipal", { tenantid: "t", serviceprincipalid: "c", authenticationType: "spnKey", serviceprincipalkey: "a-long-key" }, { environment: "AzureUSGovernment" });
  const outcome = await run("docker");
  assert.equal(job.inputs["auth-type"], "environment");
  assert.equal(job.played.environment["AZURE_CLIENT_SECRET"], "a-long-key");
  assert.equal(job.played.environment["ARM_ENVIRONMENT"], "usgovernment");
  assert.equal(job.played.environment["SYSTEM_ACCESSTOKEN"], undefined);
  assert.ok(!JSON.stringify(job.played.argv).includes("a-long-key"));
  assert.deepEqual(secrets(outcome), ["a-long-key"]);
  assert.equal(outcome.stdout.split("a-long-key").length, 2, "only in the command that masks it");
});

test("a certificate is a private file that is removed afterwards", async () => {
  const pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----";
  job.docker({ result: result() }).connect("ServicePrincipal", { tenantid: "t", serviceprincipalid: "c", authenticationType: "spnCertificate", servicePrincipalCertificate: pem });
  const outcome = await run("docker");
  const file = job.played.environment["AZURE_CLIENT_CERTIFICATE_PATH"] ?? "";
  assert.equal(completed(outcome).properties["result"], "Succeeded");
  assert.ok(job.played.argv.includes(`type=bind,source=${file},target=${file},readonly`));
  assert.ok(!fs.existsSync(file));
  assert.ok(secrets(outcome).includes("MIIEvQIBADANBgkqhkiG9w0"));
  assert.ok(!JSON.stringify(job.played.argv).includes("MIIEvQ"));
  assert.equal(outcome.stdout.split("MIIEvQ").length, 2, "only in the command that masks it");
});

test("a managed identity needs no secret, and may be one of several", async () => {
  job.docker({ result: result() }).connect("ManagedServiceIdentity", {}, { msiclientId: "of-several" });
  await run("docker");
  assert.equal(job.inputs["auth-type"], "managed-identity");
  assert.equal(job.played.environment["AZURE_CLIENT_ID"], "of-several");
});

for (const [name, spoil, words] of [
  ["no service connection", () => delete job.variables["INPUT_CONNECTEDSERVICENAMEARM"], /azureSubscription is not set/],
  ["no access token", () => Object.keys(job.variables).filter((name) => name.includes("SYSTEMVSSCONNECTION")).forEach((name) => delete job.variables[name]), /no access token \(System\.AccessToken\)/],
  ["no issuer of tokens", () => delete job.variables["SYSTEM_OIDCREQUESTURI"], /no System\.OidcRequestUri/],
  ["another kind of connection", () => job.connect("PublishProfile", {}), /uses 'publishprofile'/],
  ["a connection without tenant", () => job.connect("WorkloadIdentityFederation", { serviceprincipalid: "c" }), /has no tenant/],
  ["a connection without key", () => job.connect("ServicePrincipal", { tenantid: "t", serviceprincipalid: "c" }), /has no key/],
  ["a certificate without key", () => job.connect("ServicePrincipal", { tenantid: "t", serviceprincipalid: "c", authenticationType: "spnCertificate", servicePrincipalCertificate: "x" }), /not a PEM text/],
  ["an option as image", () => job.input("image", "--privileged"), /is not an image reference/],
  ["another method", () => job.input("method", "podman"), /'podman' is not one of the choices/],
] as const) {
  test(`${name} is reported with a remedy, and nothing runs`, async () => {
    job.docker({ result: result() }).python();
    spoil();
    const outcome = await run("docker", "python3");
    assert.equal(completed(outcome).properties["result"], "Failed");
    assert.match(completed(outcome).data, words);
    assert.ok(!job.calls.some(({ argv }) => argv[0] === "run"));
    assert.ok(!outcome.stdout.includes("    at "), "there must be no stack trace");
  });
}

test("an image without a digest gets a warning", async () => {
  job.docker({ result: result() }).input("image", "contoso.azurecr.io/mirror/acr-cleanup:1");
  const outcome = await run("docker");
  assert.match(issues(outcome, "warning").join(), /has no digest/);
  assert.equal(completed(outcome).properties["result"], "Succeeded");
});

for (const [name, prepare, words] of [
  ["there is none", () => job, /no docker on the PATH/],
  ["it runs Windows containers", () => job.docker({}, "windows"), /docker runs windows containers/],
] as const) {
  test(`method docker is refused if ${name}`, async () => {
    prepare().input("method", "docker");
    const outcome = await run(...(fs.existsSync(path.join(job.bin, "docker")) ? ["docker"] : []));
    assert.match(completed(outcome).data, words);
    assert.match(completed(outcome).data, /ubuntu-latest.*method: python/);
  });

  test(`Python is used if ${name}, and its absence is explained`, async () => {
    prepare().python("3.9.2");
    const outcome = await run("python3", ...(fs.existsSync(path.join(job.bin, "docker")) ? ["docker"] : []));
    assert.match(outcome.stdout, words);
    assert.match(completed(outcome).data, /needs Python 3\.11.*python3 is 3\.9\.2.*UsePythonVersion@0/);
  });
}
