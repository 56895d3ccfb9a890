/** The proxy and the certificate authority with which the agent was configured, as variables of the child. */

import * as fs from "fs";
import * as tl from "azure-pipelines-task-lib/task";
import { mask } from "./identity";

/** Variables that name files of additional certificate authorities. */
export const AUTHORITIES = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"];

/**
 * Returns the variables that the agent's configuration adds to this environment. Values that the job sets itself
 * remain. The agent passes them to its tasks only: https://github.com/microsoft/azure-pipelines-agent/issues/1078
 */
export function agentNetwork(environment: NodeJS.ProcessEnv): Record<string, string> {
  return { ...proxy(environment), ...authority(environment) };
}

function proxy(environment: NodeJS.ProcessEnv): Record<string, string> {
  if (["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"].some((name) => environment[name])) return {};
  const address = (tl.getVariable("Agent.ProxyUrl") ?? "").trim();
  if (!address) return {};
  let url: URL;
  try {
    url = new URL(address.includes("://") ? address : `http://${address}`);
  } catch {
    tl.warning("The agent's proxy (Agent.ProxyUrl) is not a URL, and is not used.");
    return {};
  }
  const user = tl.getVariable("Agent.ProxyUsername") ?? "";
  const password = tl.getVariable("Agent.ProxyPassword") ?? "";
  if (user) url.username = encodeURIComponent(user);
  if (user && password) url.password = encodeURIComponent(password);
  for (const secret of [password, url.password]) if (secret) mask(secret);
  const value = url.href.replace(/\/$/, "");
  const bypassed = bypass(tl.getVariable("Agent.ProxyBypassList") ?? "");
  const listed = environment["NO_PROXY"] || environment["no_proxy"] || bypassed.join(",");
  return { HTTPS_PROXY: value, HTTP_PROXY: value, ...(listed ? { NO_PROXY: listed } : {}) };
}

/**
 * Returns the entries of NO_PROXY for the agent's list. Its entries are regular expressions of URLs, or entries of
 * NO_PROXY whose dots the agent has escaped: https://github.com/microsoft/azure-pipelines-agent/issues/3790
 */
export function bypass(list: string): string[] {
  let entries: unknown;
  try {
    entries = JSON.parse(list || "[]");
  } catch {
    entries = list.split(/[,;\s]+/);
  }
  const translated: string[] = [];
  for (const entry of Array.isArray(entries) ? entries.map(String) : []) {
    if ([".*", "*"].includes(entry.trim())) return ["*"];
    const host = entry
      .trim()
      .replace(/^\^?(https?(\?)?:\/\/)?|\/?\$$/g, "")
      .replace(/\\([./-])/g, "$1")
      .replace(/^(\(\.\*\.\)\?|\.\*\.?|\*\.?|\.)/, ".")
      .replace(/^\.(?=$|localhost$|\d+\.\d+\.\d+\.\d+)/, "")
      .replace(/(\/|:)?\.\*$/, "");
    const octets = /^((?:\d{1,3}\.){1,3}|\d{1,3}(?:\.\d{1,3}){0,2}\.?)(?:(?:\\d(?:\+|\*|\{1,3\})|\[0-9\](?:\+|\{1,3\})|\*|\.\*)\.?)*$/.exec(host);
    if (/^\d{1,3}(\.\d{1,3}){3}(\/\d+)?$/.test(host) || !octets) {
      if (/^[\w.-]*\w(:\d+)?(\/\d{1,3})?$/.test(host) || host === "*") translated.push(host);
      else if (host) tl.warning(`The entry ${entry} of the agent's proxy bypass list cannot be written in NO_PROXY, and is not used.`);
      continue;
    }
    const parts = (octets[1] ?? "").replace(/\.$/, "").split(".");
    translated.push(`${[...parts, "0", "0", "0"].slice(0, 4).join(".")}/${parts.length * 8}`);
  }
  return translated;
}

function authority(environment: NodeJS.ProcessEnv): Record<string, string> {
  const file = (tl.getVariable("Agent.CAInfo") ?? "").trim();
  if (!file || !fs.existsSync(file)) return {};
  // acr-cleanup trusts both, so the second one is free if the job uses the first.
  const variable = AUTHORITIES.find((name) => !environment[name]);
  return variable ? { [variable]: file } : {};
}
