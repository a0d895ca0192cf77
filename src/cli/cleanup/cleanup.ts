import { createInterface } from "node:readline/promises";
import { describeError } from "../../base/errors.ts";
import { runningAgents } from "../running-agents.ts";
import { findFiles } from "./files.ts";
import type { Findings, Item } from "./item.ts";
import { findKernelState } from "./kernel-state.ts";
import { type CleanupOptions, cleanupHelp, parseCleanupOptions } from "./options.ts";
import { findRules } from "./rules.ts";

type Outcome = "found" | "removed" | "failed";

interface Result {
  readonly kind: Item["kind"];
  readonly name: string;
  readonly outcome: Outcome;
  readonly error?: string;
}

/** @returns the exit code @throws UsageError */
export async function runCleanup(args: readonly string[]): Promise<number> {
  const options = parseCleanupOptions(args);
  if (options.help) {
    process.stdout.write(cleanupHelp());
    return 0;
  }
  const say = (text: string) => process.stderr.write(`${text}\n`);
  if (process.getuid?.() !== 0)
    throw new Error("cleanup changes the node's network, which needs root: run it with sudo");
  const findings = find(options);
  try {
    return await cleanUp(options, findings, say);
  } finally {
    findings.close();
  }
}

async function cleanUp(
  options: CleanupOptions,
  { items, problems }: Findings,
  say: (text: string) => void,
): Promise<number> {
  for (const problem of problems) say(`tartan: ${problem}`);
  if (options["dry-run"] || items.length === 0)
    return report(
      options,
      items.map((item) => result(item, "found")),
      problems,
    );
  const agents = options.force ? [] : runningAgents();
  if (agents.length > 0) {
    const named = agents.map(({ name, pid }) => `${name} (process ${pid})`).join(", ");
    throw new Error(`${named} runs here and would make it all again: stop it first, or go on with --force`);
  }
  if (!options.yes && !(await isConfirmed(items))) {
    say("nothing was removed");
    return 1;
  }
  const results: Result[] = [];
  for (const item of items) results.push(await remove(item));
  return report(options, results, problems);
}

function find(options: CleanupOptions): Required<Findings> {
  const files = { subnetFile: options["subnet-file"], cniFolder: options["cni-conf-dir"] };
  // The CNI configuration first, so that no pod is attached any more; what carries traffic last.
  const parts = [() => findFiles(files), findRules, () => findKernelState(files.subnetFile)];
  const items: Item[] = [];
  const problems: string[] = [];
  const closers: (() => void)[] = [];
  for (const part of parts) {
    try {
      const found = part();
      if (found.close !== undefined) closers.push(found.close);
      items.push(...found.items);
      problems.push(...found.problems);
    } catch (error) {
      problems.push(describeError(error));
    }
  }
  return { items, problems, close: () => closers.forEach((close) => void close()) };
}

/** @throws Error where there is nobody to ask */
async function isConfirmed(items: readonly Item[]): Promise<boolean> {
  if (!process.stdin.isTTY) throw new Error("there is no terminal to ask on: give --yes, or --dry-run to look first");
  process.stderr.write(`These will be removed from this node:\n${items.map((item) => `  ${line(item)}`).join("\n")}\n`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question("Remove them? Pods here lose the pod network. [y/N] ");
  terminal.close();
  return /^y(es)?$/i.test(answer.trim());
}

async function remove(item: Item): Promise<Result> {
  try {
    await item.remove();
    return result(item, "removed");
  } catch (error) {
    return { ...result(item, "failed"), error: describeError(error) };
  }
}

function result({ kind, name }: Item, outcome: Outcome): Result {
  return { kind, name, outcome };
}

function line({ kind, name }: Pick<Item, "kind" | "name">): string {
  return `${kind.padEnd(6)}  ${name}`;
}

function report(options: CleanupOptions, results: readonly Result[], problems: readonly string[]): number {
  if (options.output === "json") process.stdout.write(`${JSON.stringify({ items: results, problems }, null, 2)}\n`);
  else {
    const lines = results.map((one) => `${one.outcome.padEnd(7)}  ${line(one)}${one.error ? `: ${one.error}` : ""}`);
    const nothing = problems.length === 0 ? ["there is nothing of tartan or flanneld on this node"] : [];
    process.stdout.write(`${(lines.length > 0 ? lines : nothing).map((text) => `${text}\n`).join("")}`);
  }
  return problems.length > 0 || results.some(({ outcome }) => outcome === "failed") ? 1 : 0;
}
