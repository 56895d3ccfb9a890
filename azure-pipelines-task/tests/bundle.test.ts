/**
 * The shipped bundle, started like the agent starts it. The programs on its PATH record their calls.
 */

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import contract from "../src/contract.json";
import { CONNECTION, completed, IMAGE, issues, Job, result, TOKEN, variables } from "./support";

let job: Job;
beforeEach(() => void (job = new Job()));
afterEach(() => job.remove());

test("the image runs read-only, without rights, and its arguments contain no value", async () => {
  job.docker({ result: result(), summary: "## done" }).input("registry", "contoso").input("method", "docker");
  const outcome = await job.start();
  assert.equal(completed(outcome).properties["result"], "Succeeded");
  const { argv, folder } = job.played;
  const commandLine = argv.join(" ");
  for (const wanted of ["run --rm", "--read-only --tmpfs /tmp", "--cap-drop ALL", "--security-opt no-new-privileges", `--user ${process.getuid?.()}:${process.getgid?.()}`, "--pull missing", `--workdir ${job.workspace}`]) {
    assert.ok(commandLine.includes(wanted), `${wanted} is missing in ${commandLine}`);
  }
  assert.equal(argv.at(-1), IMAGE);
  assert.equal(folder, job.workspace);
  assert.ok(argv.includes(`type=bind,source=${job.workspace},target=${job.workspace}`));
  assert.ok(argv.includes(`type=bind,source=${path.dirname(job.workspace)},target=${path.dirname(job.workspace)},readonly`));
  assert.ok(!commandLine.includes("docker.sock"));
  for (const secret of [TOKEN, CONNECTION, "contoso"]) assert.ok(!commandLine.includes(secret), `${secret} is in the arguments`);
  const named = argv.flatMap((word, index) => (word === "--env" ? [argv[index + 1] ?? ""] : []));
  assert.deepEqual(named.filter((name) => name.includes("=")), ["HOME=/tmp"]);
  assert.ok(named.includes("SYSTEM_ACCESSTOKEN"));
});

test("secrets are not in the log, and the handler's own variables are not passed on", async () => {
  job.docker({ result: result() }).variables["SECRET_MYPASSWORD"] = "of another step";
  const outcome = await job.start();
  const log = outcome.stdout.split("\n").filter((line) => !line.startsWith("##vso[task.setsecret]")).join("\n");
  assert.ok(!log.includes(TOKEN));
  for (const { environment } of job.calls) {
    assert.ok(!Object.keys(environment).some((name) => /^(INPUT|ENDPOINT|SECRET)_/.test(name)), "the job's own variables");
  }
  assert.equal(job.calls.find(({ argv }) => argv[0] === "version")?.environment["SYSTEM_ACCESSTOKEN"], undefined);
});

test("outputs, summary and issues are reported before the result", async () => {
  job.docker({
    result: result({ result: "partial", exit_code: 1, outputs: { result: "partial", deletedTags: '["shop/web:1"]', planPath: path.join(job.workspace, "acr-cleanup/plan.json") }, annotations: [{ level: "error", title: "shop/web", text: "one%\ntwo" }] }),
    summary: "## done",
    code: 1,
  });
  const outcome = await job.start();
  assert.equal(completed(outcome).properties["result"], "SucceededWithIssues");
  assert.deepEqual(Object.keys(variables(outcome)).sort(), contract.outputs.map(({ variable }) => variable).sort());
  assert.equal(variables(outcome)["deletedTags"], '["shop/web:1"]');
  assert.equal(variables(outcome)["planPath"], path.join(job.workspace, "acr-cleanup/plan.json"));
  assert.deepEqual(issues(outcome, "error"), ["shop/web: one%\ntwo"]);
  const summary = outcome.commands.find(({ name }) => name === "task.uploadsummary")?.data ?? "";
  assert.equal(path.basename(summary), "ACR cleanup.md");
  assert.equal(fs.readFileSync(summary, "utf8"), "## done");
  assert.equal(outcome.commands.filter(({ name }) => name !== "task.debug").at(-1)?.name, "task.complete");
});

test("publishSummary false publishes no summary", async () => {
  job.docker({ result: result(), summary: "## done" }).input("publishSummary", "False");
  const outcome = await job.start();
  assert.ok(!outcome.commands.some(({ name }) => name === "task.uploadsummary"));
});

test("many issues are cut to the limit of the agent", async () => {
  const annotations = Array.from({ length: 40 }, (_, index) => ({ level: "error", title: `t${index}`, text: "x".repeat(9000) }));
  job.docker({ result: result({ result: "aborted", exit_code: 3, annotations }), code: 3 });
  const shown = issues(await job.start(), "error");
  assert.equal(shown.length, 10);
  assert.ok(shown.every((issue) => issue.length <= 4000));
  assert.match(shown[8] ?? "", /There are 32 more/);
  assert.match(shown[9] ?? "", /Refused/);
});

test("hostile text of the child never becomes a command", async () => {
  const hostile = [
    "##vso[task.complete result=Succeeded;]done", "x ##VSO[task.setvariable variable=PATH]/evil", "##[error]no", "a\r##vso[task.setsecret]the",
    "\u001b[2K##vso[task.uploadsummary]/etc/passwd", "#\u200b#vso[task.logissue type=error]x", `${"y".repeat(9000)}##vso[task.complete result=Succeeded;]`,
  ].join("\n");
  job.docker({
    stdout: hostile, stderr: hostile, code: 1,
    result: result({ result: "aborted", exit_code: 1, outputs: { result: hostile, deletedTags: `["##vso[task.complete]"]`, planPath: hostile }, annotations: [{ level: "error", title: hostile, text: hostile }] }),
  });
  const outcome = await job.start();
  assert.equal(completed(outcome).properties["result"], "Failed");
  const names = new Set(outcome.commands.map(({ name }) => name));
  assert.deepEqual([...names].filter((name) => !["task.debug", "task.setvariable", "task.logissue", "task.issue", "task.complete", "task.setsecret"].includes(name)), []);
  assert.deepEqual(Object.keys(variables(outcome)).sort(), contract.outputs.map(({ variable }) => variable).sort());
  for (const line of outcome.stdout.split(/[\r\n]+/)) {
    // A command at the beginning of a line is from the handler. The rest of the line is its data.
    assert.ok(!line.replace(/^##vso\[task\.\w+[^\]]*\]/, "").includes("##"), line.slice(0, 200));
  }
  assert.equal(variables(outcome)["deletedTags"], "[]");
  assert.ok(outcome.stdout.split("\n").every((line) => line.length < 60_000));
});

test("a cancelled job stops the container once, and reports its result", async () => {
  job.docker({ waits: true, result: result({ result: "aborted", exit_code: 143, outputs: { result: "aborted", deletedTags: '["shop/web:1"]' } }) });
  const running = job.start();
  await job.until("started");
  job.cancel("SIGINT");
  job.cancel("SIGTERM");
  const outcome = await running;
  const kills = job.calls.filter(({ argv }) => argv[0] === "kill");
  assert.deepEqual(kills.map(({ argv }) => argv.slice(0, 3)), [["kill", "--signal", "TERM"]]);
  assert.equal(kills[0]?.argv[3], job.played.argv[job.played.argv.indexOf("--name") + 1]);
  assert.equal(completed(outcome).properties["result"], "Failed");
  assert.match(completed(outcome).data, /The job was cancelled/);
  assert.equal(variables(outcome)["deletedTags"], '["shop/web:1"]');
});

test("an image that cannot be pulled is reported with the error of docker", async () => {
  job.docker({ stderr: "docker: manifest unknown.\n", code: 125 });
  const outcome = await job.start();
  assert.match(completed(outcome).data, /could not run the image \(exit code 125\).*manifest unknown.*mirror/);
  assert.equal(variables(outcome)["result"], "failed");
});

test("without an image of a release, the input image is required", async (context) => {
  const action = fs.readFileSync(path.join(__dirname, "..", "..", "..", "..", "action.yml"), "utf8");
  if (!action.includes('image: "Dockerfile"')) return context.skip("This build is a release.");
  job.docker({ result: result() }).input("image", "");
  return assert.match(completed(await job.start()).data, /is not a release/);
});

test("without Linux containers, Python runs the shipped package and keeps its environment", async () => {
  job.docker({}, "windows").python("3.12.1", { result: result({ result: "dry-run" }) });
  const outcome = await job.start();
  assert.equal(completed(outcome).properties["result"], "Succeeded");
  assert.match(outcome.stdout, /Docker is not used: docker runs windows containers/);
  const { argv, environment, folder } = job.played;
  assert.deepEqual(argv.slice(0, 3), ["-I", "-B", "-u"]);
  assert.equal(environment["SYSTEM_ACCESSTOKEN"], TOKEN);
  assert.equal(folder, job.workspace);
  const pip = job.calls.find((call) => call.argv.includes("pip"));
  assert.ok(pip?.argv.includes("--require-hashes"));
  assert.equal(pip?.environment["SYSTEM_ACCESSTOKEN"], undefined);
  const calls = job.calls.length;
  await job.start();
  assert.equal(job.calls.slice(calls).filter((call) => call.argv.includes("pip")).length, 0);
});

test("a cancelled job stops Python too", async () => {
  job.python("3.12.1", { waits: true, result: result({ result: "aborted", exit_code: 143 }) });
  const running = job.start();
  await job.until("started");
  job.cancel();
  assert.match(completed(await running).data, /The job was cancelled/);
  assert.equal(fs.readFileSync(path.join(job.folder, "stopped"), "utf8"), "SIGTERM");
});
