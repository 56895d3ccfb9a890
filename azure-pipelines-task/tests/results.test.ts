import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { test } from "node:test";
import { TaskResult } from "azure-pipelines-task-lib/task";
import contract from "../src/contract.json";
import { MAX_VALUE, outputsOf, readResult, Result, verdictOf } from "../src/results";

const NAMES = contract.outputs.map(({ variable }) => variable);

function of(overrides: Partial<Result>): Result {
  return { result: "success", exitCode: 0, outputs: {}, annotations: [], secrets: [], ...overrides };
}

test("every output has a value, even without a result", () => {
  const outputs = outputsOf(undefined, "/w");
  assert.deepEqual(Object.keys(outputs), NAMES);
  assert.equal(outputs["result"], "failed");
  assert.equal(outputs["deletedTags"], "[]");
  assert.equal(outputs["deletedCount"], "0");
});

test("only known outputs are set, and paths are absolute", () => {
  const outputs = outputsOf(of({ outputs: { PATH: "/evil", planPath: "acr-cleanup/plan.json", reportPath: "" } }), "/w");
  assert.deepEqual(Object.keys(outputs), NAMES);
  assert.equal(outputs["planPath"], "/w/acr-cleanup/plan.json");
  assert.equal(outputs["reportPath"], "");
});

test("a long list is cut between two tags, remains JSON, and is marked as truncated", () => {
  const tags = JSON.stringify(Array.from({ length: 5000 }, (_, index) => `shop/web:${index}`));
  const outputs = outputsOf(of({ outputs: { deletedTags: tags, deletedTagsTruncated: "false", plannedTags: "[]" } }), "/w");
  const kept = JSON.parse(outputs["deletedTags"] ?? "") as string[];
  assert.ok((outputs["deletedTags"] ?? "").length <= MAX_VALUE);
  assert.ok(kept.length > 1000);
  assert.equal(kept[0], "shop/web:0");
  assert.equal(outputs["deletedTagsTruncated"], "true");
  assert.equal(outputs["plannedTagsTruncated"], "false");
});

test("invalid lists and commands are not set as outputs", () => {
  for (const bad of ["[", '{"a":1}', '["##vso[task.complete]"]', "x".repeat(MAX_VALUE + 1)]) {
    const outputs = outputsOf(of({ outputs: { deletedTags: bad, deletedCount: "1\n##vso[x]" } }), "/w");
    assert.equal(outputs["deletedTags"], "[]");
    assert.equal(outputs["deletedTagsTruncated"], "true");
    assert.equal(outputs["deletedCount"], "");
  }
});

test("an invalid result file counts as missing", () => {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "acr-cleanup-test-")), "result.json");
  assert.equal(readResult(file), undefined);
  for (const text of ["", "[]", "null", '{"schema_version":2,"result":"success"}', '{"schema_version":1}']) {
    fs.writeFileSync(file, text);
    assert.equal(readResult(file), undefined, text);
  }
  fs.writeFileSync(file, '{"schema_version":1,"result":"success","outputs":{"deletedCount":3},"annotations":[null,{"level":"info","text":"x"},{"level":"fatal","text":1}],"secrets":[1,"s"]}');
  assert.deepEqual(readResult(file), { result: "success", exitCode: undefined, outputs: {}, annotations: [{ level: "warning", title: "", text: "1" }], secrets: ["s"] });
  fs.rmSync(path.dirname(file), { recursive: true });
});

const ENDED = { code: 0, signal: null, last: [] as string[] };

for (const [name, result, ended, cancelled, wanted, words] of [
  ["a success", of({}), ENDED, false, TaskResult.Succeeded, /^$/],
  ["a dry run", of({ result: "dry-run" }), ENDED, false, TaskResult.Succeeded, /^$/],
  ["a partial result", of({ result: "partial", exitCode: 1 }), { ...ENDED, code: 1 }, false, TaskResult.SucceededWithIssues, /Some items failed/],
  ["a partial result with exit code 0", of({ result: "partial" }), ENDED, false, TaskResult.SucceededWithIssues, /Some items failed/],
  ["a dry run that fails on planned deletions", of({ result: "dry-run", exitCode: 1 }), { ...ENDED, code: 1 }, false, TaskResult.Failed, /exit code 1 \(dry-run\)/],
  ["a wrong configuration", of({ result: "failed", exitCode: 2 }), { ...ENDED, code: 2 }, false, TaskResult.Failed, /nothing was read or deleted/],
  ["a refusal", of({ result: "aborted", exitCode: 3 }), { ...ENDED, code: 3 }, false, TaskResult.Failed, /Refused: nothing was deleted/],
  ["a success that exits with an error", of({}), { ...ENDED, code: 1 }, false, TaskResult.Failed, /exit code 1/],
  ["exit code 0 without a plan", of({ result: "failed", exitCode: 1 }), ENDED, false, TaskResult.Failed, /exit code 1 \(failed\)/],
  ["an exit code that the engine loses", of({ result: "aborted", exitCode: 3 }), ENDED, false, TaskResult.Failed, /Refused/],
  ["a result without its exit code", of({ exitCode: undefined }), ENDED, false, TaskResult.Failed, /exit code 1 \(success\)/],
  ["no result at all", undefined, ENDED, false, TaskResult.Failed, /left no result.*method: python/],
  ["an image that cannot be pulled", undefined, { ...ENDED, code: 125, last: ["denied"] }, false, TaskResult.Failed, /docker could not run the image \(exit code 125\).*denied.*mirror/],
  ["too little memory", undefined, { ...ENDED, code: 137 }, false, TaskResult.Failed, /memory/],
  ["a crash", of({}), { code: null, signal: "SIGSEGV" as const, last: [] }, false, TaskResult.Failed, /ended by SIGSEGV/],
  ["a cancelled job", of({ result: "aborted", exitCode: 143 }), { ...ENDED, code: 143 }, true, TaskResult.Failed, /The job was cancelled\./],
  ["a job cancelled in time", undefined, undefined, true, TaskResult.Failed, /Nothing was deleted/],
] as const) {
  test(`${name} gives the right result of the task`, () => {
    const verdict = verdictOf(result, ended, cancelled, "docker");
    assert.equal(TaskResult[verdict.result], TaskResult[wanted]);
    assert.match(verdict.message, words);
  });
}
