/** The kinds of agents: with a proxy, with an authority of their own, with podman, and with remapped users. */

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { findDocker } from "../src/docker";
import { bypass } from "../src/network";
import { programOf } from "../src/python";
import { completed, Job, MOCKED, Outcome, result, secrets } from "./support";

let job: Job;
beforeEach(() => void (job = new Job()));
afterEach(() => job.remove());

function run(program = "docker", script = MOCKED): Promise<Outcome> {
  job.variables["MOCK_ANSWERS"] = JSON.stringify({ which: { [program]: path.join(job.bin, program) } });
  return job.start(script);
}

/** Configure the agent with --proxyurl, --proxyusername and --proxypassword. */
function proxied(): void {
  Object.assign(job.variables, {
    AGENT_PROXYURL: "http://proxy.contoso.com:8080",
    AGENT_PROXYUSERNAME: "agent",
    AGENT_PROXYPASSWORD: "p@ss word!",
    AGENT_PROXYBYPASSLIST: JSON.stringify(["localhost", "10\\.1\\.1\\.\\d{1,3}", ".*\\.zeiss\\.org", "*\\.azurecr\\.io"]),
  });
}

test("the agent's proxy reaches the container, masked and in no argument", async () => {
  proxied();
  job.docker({ result: result() });
  const outcome = await run();
  const { environment, argv } = job.played;
  assert.equal(completed(outcome).properties["result"], "Succeeded");
  const url = "http://agent:p%40ss%20word!@proxy.contoso.com:8080";
  assert.equal(environment["HTTPS_PROXY"], url);
  assert.equal(environment["HTTP_PROXY"], url);
  assert.equal(environment["NO_PROXY"], "localhost,10.1.1.0/24,.zeiss.org,.azurecr.io");
  for (const name of ["HTTPS_PROXY", "NO_PROXY"]) assert.ok(argv.includes(name));
  assert.ok(!JSON.stringify(argv).includes("p%40ss"));
  assert.equal(environment["AGENT_PROXYPASSWORD"], undefined);
  assert.ok(secrets(outcome).includes("p@ss word!"));
  assert.ok(secrets(outcome).includes("p%40ss%20word!"));
});

test("the agent's proxy reaches Python", async () => {
  proxied();
  job.python("3.13.1", { result: result() }).input("method", "python");
  // The bundle has the shipped package beside it.
  await run("python3");
  const call = job.calls.find(({ environment }) => environment["HTTPS_PROXY"]);
  assert.equal(call?.environment["HTTPS_PROXY"], "http://agent:p%40ss%20word!@proxy.contoso.com:8080");
});

test("a proxy of the job is not replaced", async () => {
  proxied();
  Object.assign(job.variables, { https_proxy: "http://other:3128", NO_PROXY: "x" });
  job.docker({ result: result() });
  await run();
  const { environment } = job.played;
  assert.equal(environment["HTTPS_PROXY"], undefined);
  assert.equal(environment["https_proxy"], "http://other:3128");
});

test("an unusable proxy of the agent is a warning", async () => {
  job.variables["AGENT_PROXYURL"] = "http://[";
  job.docker({ result: result() });
  const outcome = await run();
  assert.match(outcome.stdout, /Agent\.ProxyUrl/);
  assert.equal(completed(outcome).properties["result"], "Succeeded");
});

for (const [list, entries] of [
  ["", []],
  ["not json, but.names", ["not", "json", "but.names"]],
  ['["localhost","127\\\\.0\\\\.0.*", "\\\\.someaddress\\\\.cloud"]', ["localhost", "127.0.0.0/24", ".someaddress.cloud"]],
  ['["10\\\\.1\\\\.1\\\\.0/26", "https://dev\\\\.contoso\\\\.com/.*", "192\\\\.168\\\\..*"]', ["10.1.1.0/26", "dev.contoso.com", "192.168.0.0/16"]],
  ['["(a|b)\\\\.contoso\\\\.com", "10.0.0.4"]', ["10.0.0.4"]],
  ['["localhost", ".*"]', ["*"]],
] as const) {
  test(`the bypass list ${list} becomes NO_PROXY`, () => {
    assert.deepEqual(bypass(list), entries);
  });
}

test("the agent's authority is trusted and mounted", async () => {
  const file = path.join(job.folder, "contoso-ca.pem");
  fs.writeFileSync(file, "x");
  job.variables["AGENT_CAINFO"] = file;
  job.docker({ result: result() });
  await run();
  assert.equal(job.played.environment["SSL_CERT_FILE"], file);
  assert.ok(job.played.argv.includes(`type=bind,source=${file},target=${file},readonly`));
});

test("the agent's authority is trusted besides that of the job", async () => {
  const files = ["agent.pem", "job.pem"].map((name) => path.join(job.folder, name));
  for (const file of files) fs.writeFileSync(file, "x");
  Object.assign(job.variables, { AGENT_CAINFO: files[0], SSL_CERT_FILE: files[1] });
  job.docker({ result: result() });
  await run();
  assert.deepEqual([job.played.environment["REQUESTS_CA_BUNDLE"], job.played.environment["SSL_CERT_FILE"]], files);
});

for (const [name, program, security, user, namespace] of [
  ["docker", "docker", '["name=seccomp,profile=builtin"]', true, false],
  ["rootless docker", "docker", '["name=seccomp,profile=builtin","name=rootless"]', false, false],
  ["docker with remapped users", "docker", '["name=userns"]', true, true],
  ["rootless podman behind the name docker", "docker", "rootless", false, false],
  ["podman as root behind the name docker", "docker", "rootful", true, false],
  ["rootless podman", "podman", "rootless", false, false],
] as const) {
  test(`${name} runs the container as the user of the agent`, async () => {
    job.docker({ result: result() }, "linux", security, program);
    const outcome = await run(program);
    assert.equal(completed(outcome).properties["result"], "Succeeded");
    assert.equal(job.played.argv.includes("--user"), user);
    assert.equal(job.played.argv.join(" ").includes("--userns host"), namespace);
  });
}

test("a Windows agent uses its Python, and says why not Docker", async () => {
  const platform = process.platform;
  Object.defineProperty(process, "platform", { value: "win32" });
  try {
    assert.match(String(await findDocker({})), /this agent runs Windows/);
  } finally {
    Object.defineProperty(process, "platform", { value: platform });
  }
  assert.match(programOf("env", true), /env.Scripts.python\.exe$/);
  assert.match(programOf("env", false), /env.bin.python$/);
});
