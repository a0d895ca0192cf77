import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { TemporaryFolder } from "../support/temp.ts";

const ROOT = join(import.meta.dir, "..", "..");
const BIOME = join(ROOT, "node_modules", ".bin", "biome");

/** The folders of src, each with those that it may import. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  base: [],
  net: ["base"],
  config: ["base", "net"],
  api: ["base", "net", "config"],
  lease: ["base", "net", "config"],
  desired: ["base", "net", "config", "lease"],
  ffi: ["base", "net"],
  probe: ["base", "net", "api", "ffi"],
  kernel: ["base", "net", "config", "desired", "ffi"],
  rules: ["base", "net", "config", "desired", "ffi"],
  status: ["base", "net", "config", "api", "lease", "desired", "ffi", "probe", "kernel", "rules"],
  agent: ["base", "net", "config", "api", "lease", "desired", "ffi", "probe", "kernel", "rules", "status"],
  cni: ["base", "net", "config", "ffi"],
  cli: ["base", "net", "config", "api", "lease", "desired", "ffi", "probe", "kernel", "rules"],
};
const FOLDERS = Object.keys(LAYERS);

const Report = v.object({
  diagnostics: v.array(
    v.object({
      category: v.string(),
      location: v.object({ path: v.string(), start: v.object({ line: v.number() }) }),
    }),
  ),
});

type Lines = Readonly<Record<string, readonly string[]>>;

/**
 * Lints a folder with the project's settings and these files, one import or statement a line.
 * @returns of each file the lines that the rule refuses
 */
async function refused(files: Lines, rule = "lint/style/noRestrictedImports"): Promise<Lines> {
  using folder = new TemporaryFolder();
  for (const name of ["biome.json", "package.json", "tsconfig.json"]) {
    await Bun.write(folder.at(name), Bun.file(join(ROOT, name)));
  }
  for (const [path, lines] of Object.entries(files)) await Bun.write(folder.at(path), lines.join("\n"));
  const command = [BIOME, "lint", "--reporter=json", "--max-diagnostics=none"];
  const child = Bun.spawn(command, { cwd: folder.path, stdout: "pipe", stderr: "ignore" });
  const { diagnostics } = v.parse(Report, JSON.parse(await child.stdout.text()));
  const found = diagnostics.filter(({ category }) => category === rule);
  const entries = Object.entries(files).map(([path, lines]) => {
    const refusedHere = new Set(
      found.filter((one) => one.location.path === path).map((one) => one.location.start.line),
    );
    return [path, lines.filter((_, index) => refusedHere.has(index + 1))] as const;
  });
  return Object.fromEntries(entries);
}

const importOf = (module: string) => `import "${module}";`;
const importsOf = (modules: readonly string[]) => modules.map(importOf);

describe("imports between the folders of src point one way", () => {
  test("every folder has its place", () => {
    const present = readdirSync(join(ROOT, "src"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(FOLDERS).toEqual(expect.arrayContaining(present.map(({ name }) => name)));
  });

  test("each folder may import those before it", async () => {
    const own = ["./x.ts", "./part/x.ts", "node:fs", "valibot"];
    const outside = ["../main.ts", "../../tests/x.ts"];
    const files: Record<string, string[]> = {};
    const expected: Record<string, string[]> = {};
    for (const [folder, allowed] of Object.entries(LAYERS)) {
      const others = FOLDERS.filter((other) => other !== folder);
      const forbidden = others.filter((other) => !allowed.includes(other));
      const path = `src/${folder}/sample.ts`;
      files[path] = importsOf([...own, ...others.map((other) => `../${other}/x.ts`), ...outside]);
      expected[path] = importsOf([...forbidden.map((other) => `../${other}/x.ts`), ...outside]);
    }
    expect(await refused(files)).toEqual(expected);
  });

  test("whatever the import looks like", async () => {
    const path = "src/lease/sample.ts";
    const lines = [
      'import type { X } from "../kernel/x.ts";',
      'export { x } from "../kernel/y.ts";',
      'export const z = import("../kernel/z.ts");',
      'import "./../kernel/x.ts";',
      'import "../../src/kernel/x.ts";',
    ];
    expect(await refused({ [path]: lines })).toEqual({ [path]: lines });
  });

  test("also from a folder of a folder", async () => {
    const path = "src/ffi/part/sample.ts";
    const lines = importsOf(["../x.ts", "../../base/x.ts", "../../net/x.ts", "../../kernel/x.ts", "../../main.ts"]);
    expect(await refused({ [path]: lines })).toEqual({ [path]: lines.slice(3) });
  });

  test("main.ts picks a command and nothing else", async () => {
    const allowed = ["base", "config", "agent", "cni", "cli"];
    const lines = (folders: readonly string[]) => folders.map((folder) => importOf(`./${folder}/x.ts`));
    const expected = lines(FOLDERS.filter((folder) => !allowed.includes(folder)));
    expect(await refused({ "src/main.ts": lines(FOLDERS) })).toEqual({ "src/main.ts": expected });
  });
});

test("a package is imported in its own place only", async () => {
  const packages = ["bun:ffi", "bun:sqlite", "hono", "hono/http-exception", "@kubernetes/client-node"];
  const places: Record<string, string[]> = {
    "src/agent/sample.ts": [],
    "src/main.ts": [],
    "src/ffi/sample.ts": ["bun:ffi"],
    "src/ffi/part/sample.ts": ["bun:ffi"],
    "src/lease/sample.ts": [],
    "src/lease/embedded.ts": ["bun:sqlite"],
    "src/lease/embedded-rows.ts": ["bun:sqlite"],
    "src/lease/kube.ts": ["@kubernetes/client-node"],
    "src/lease/kube-config.ts": ["@kubernetes/client-node"],
    "src/status/sample.ts": ["hono", "hono/http-exception"],
    "src/cli/sample.ts": ["hono", "hono/http-exception"],
  };
  const layers = importsOf(["../net/x.ts", "../agent/x.ts"]);
  const files = Object.keys(places).map((path) => [path, importsOf(packages)]);
  const expected = Object.entries(places).map(([path, allowed]) => {
    return [path, importsOf(packages.filter((name) => !allowed.includes(name)))];
  });
  expect(await refused(Object.fromEntries(files))).toEqual(Object.fromEntries(expected));
  // The exception for the embedded store is one for the package alone.
  expect(await refused({ "src/lease/embedded.ts": layers })).toEqual({ "src/lease/embedded.ts": layers.slice(1) });
});

describe("the linter refuses", () => {
  test.each([
    ["lint/nursery/noFloatingPromises", "src/agent/sample.ts", "Promise.reject(new Error());"],
    ["lint/suspicious/noExplicitAny", "src/agent/sample.ts", "export const x: any = 1;"],
    ["lint/style/noNonNullAssertion", "src/agent/sample.ts", "export const x = [1][0]!;"],
    ["lint/suspicious/noConsole", "src/agent/sample.ts", "console.log();"],
    ["lint/style/useImportType", "src/agent/sample.ts", 'import { Lease } from "./x.ts"; export type X = Lease;'],
    ["lint/correctness/noUnusedImports", "src/agent/sample.ts", 'import { x } from "./x.ts";'],
    ["lint/suspicious/noFocusedTests", "tests/sample.test.ts", 'test.only("x", () => {});'],
  ])("%s", async (rule, path, line) => {
    expect(await refused({ [path]: [line] }, rule)).toEqual({ [path]: [line] });
  });

  test("import cycles", async () => {
    const lines = { "src/net/a.ts": [importOf("./b.ts")], "src/net/b.ts": [importOf("./a.ts")] };
    expect(await refused(lines, "lint/suspicious/noImportCycles")).toEqual(lines);
  });

  test("console nowhere but in the command line's folder, the entry and the tests", async () => {
    const line = ["console.log();"];
    const files = { "src/cli/x.ts": line, "src/main.ts": line, "tests/x.ts": line, "src/status/x.ts": line };
    const expected = { ...files, "src/cli/x.ts": [], "src/main.ts": [], "tests/x.ts": [] };
    expect(await refused(files, "lint/suspicious/noConsole")).toEqual(expected);
  });
});
