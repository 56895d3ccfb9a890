import assert from "node:assert/strict";
import { test } from "node:test";
import { Lines, MAX_LINE, tame } from "../src/text";
import { commandsOf } from "./support";

function shown(...pieces: string[]): string[] {
  const lines: string[] = [];
  const stream = new Lines((line) => lines.push(line));
  for (const piece of pieces) stream.add(piece);
  stream.end();
  return lines;
}

test("hostile text is never a command, in any position or spelling", () => {
  for (const hostile of ["##vso[task.complete result=Succeeded;]done", "x ##VSO[task.setvariable variable=PATH]y", "##[error]x", "###vso[a]b", "####[x]", "#\u200b#[x]", "##\u001b[0mvso[x]"]) {
    const text = tame(hostile);
    assert.ok(!text.includes("##"), text);
    assert.deepEqual(commandsOf(text), []);
  }
});

test("terminal escapes and invisible characters are escaped", () => {
  assert.equal(tame("\u001b[2Jgone\u202e"), "\\x1b[2Jgone\\u202e");
  assert.equal(tame("half \ud83d a pair, whole \u{1f9f9}"), "half \\ud83d a pair, whole \u{1f9f9}");
});

test("lines end where the sender ended them, for any chunks", () => {
  assert.deepEqual(shown("one\ntw", "o\r", "\nthree\rfour\r\n\nsix"), ["one", "two", "three", "four", "", "six"]);
});

test("a command split over chunks is not a command", () => {
  assert.deepEqual(commandsOf(shown("#", "#vs", "o[task.complete result=Succeeded;]", "\n").join("\n")), []);
});

test("an endless line is cut, and the number of dropped characters is shown", () => {
  const [line = ""] = shown("x".repeat(MAX_LINE), "##vso[task.complete]", "y".repeat(100_000), "\n");
  assert.ok(line.length < MAX_LINE + 100);
  assert.match(line, /… \(100020 more characters\)$/);
});
