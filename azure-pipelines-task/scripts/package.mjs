// Bundle the handler and pack the .vsix: `node scripts/package.mjs [bundle]`. Needs no network.
//
// The version comes from acr_cleanup/__init__.py (tests/entries/test_task.py compares the manifests
// with it). The image comes from action.yml, where a release writes it.

import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const HERE = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const ROOT = path.dirname(HERE);
const STAGE = path.join(HERE, "build", "extension");
const TASK = path.join(STAGE, "AcrCleanupV1");

/**
 * Return the image in the text of action.yml, which must have a digest. Before a release, the image
 * is built from the Dockerfile, and the result is empty.
 */
export function pinnedImage(action) {
  const image = /^  image: "(.*)"/m.exec(action)?.[1];
  if (image === "Dockerfile") return "";
  const pinned = /^docker:\/\/(\S+@sha256:[0-9a-f]{64})$/.exec(image ?? "")?.[1];
  if (!pinned) throw new Error(`The image in action.yml has no digest: ${image}`);
  return pinned;
}

async function bundle() {
  fs.rmSync(STAGE, { recursive: true, force: true });
  fs.mkdirSync(path.join(TASK, "python"), { recursive: true });
  const image = process.env.ACR_CLEANUP_ACTION ?? path.join(ROOT, "action.yml");
  await build({
    entryPoints: [path.join(HERE, "src", "main.ts")],
    outfile: path.join(TASK, "index.js"),
    bundle: true,
    platform: "node",
    target: "node20",
    format: "cjs",
    minify: true,
    keepNames: true,
    legalComments: "inline",
    logLevel: "warning",
    define: { PINNED_IMAGE: JSON.stringify(pinnedImage(fs.readFileSync(image, "utf8"))) },
  });
  copy(path.join(HERE, "AcrCleanupV1"), TASK);
  // The package of the image, for agents without Linux containers.
  copy(path.join(ROOT, "acr_cleanup"), path.join(TASK, "python", "acr_cleanup"));
  fs.copyFileSync(path.join(ROOT, "entrypoint.py"), path.join(TASK, "python", "entrypoint.py"));
  fs.copyFileSync(path.join(ROOT, "requirements", "runtime.lock"), path.join(TASK, "python", "requirements.lock"));
  for (const name of ["vss-extension.json", "overview.md", "images"]) copy(path.join(HERE, name), path.join(STAGE, name));
  fs.copyFileSync(path.join(ROOT, "LICENSE"), path.join(STAGE, "LICENSE"));
}

function copy(from, to) {
  fs.cpSync(from, to, { recursive: true, filter: (name) => !/(^|\/)__pycache__(\/|$)|\.pyc$/.test(name) });
}

function pack() {
  const out = path.join(HERE, "dist");
  fs.rmSync(out, { recursive: true, force: true });
  fs.mkdirSync(out);
  const tfx = path.join(HERE, "node_modules", "tfx-cli", "_build", "tfx-cli.js");
  execFileSync(
    process.execPath,
    [tfx, "extension", "create", "--root", STAGE, "--manifest-globs", "vss-extension.json", "--output-path", out, "--no-prompt", "--no-color"],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  console.log(path.relative(process.cwd(), path.join(out, fs.readdirSync(out)[0])));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await bundle();
  if (process.argv[2] !== "bundle") pack();
}
