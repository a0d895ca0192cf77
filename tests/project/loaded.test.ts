import { expect, test } from "bun:test";
import { dirname, join } from "node:path";

const ROOT = join(import.meta.dir, "..", "..");

/** All that a file of src loads at once, itself included: paths from the project's folder, and packages by name. */
async function loadedBy(path: string, found = new Set<string>()): Promise<Set<string>> {
  if (found.has(path)) return found;
  found.add(path);
  const transpiler = new Bun.Transpiler({ loader: "ts", trimUnusedImports: true });
  for (const { path: imported, kind } of transpiler.scanImports(await Bun.file(join(ROOT, path)).text())) {
    if (kind === "dynamic-import") continue;
    if (imported.startsWith(".") && imported.endsWith(".ts")) await loadedBy(join(dirname(path), imported), found);
    else found.add(imported);
  }
  return found;
}

test("what an agent serves when somebody asks is not loaded before", async () => {
  const loaded = await loadedBy("src/agent/agent.ts");
  expect([...loaded]).toContain("src/agent/node.ts");
  expect([...loaded]).toContain("src/status/health.ts");
  const rare = ["src/status/server.ts", "src/status/debug-routes.ts", "src/status/views.ts", "src/api/resources.ts"];
  expect(rare.filter((path) => loaded.has(path))).toEqual([]);
});

test("node's crypto and HTTP, 2 MB each, are not loaded by what each agent needs, nor by a scrape", async () => {
  const loaded = new Set([
    ...(await loadedBy("src/agent/agent.ts")),
    ...(await loadedBy("src/lease/embedded.ts")),
    ...(await loadedBy("src/status/server.ts")),
    ...(await loadedBy("src/status/metrics/expose.ts")),
  ]);
  expect([...loaded]).toContain("prom-client/lib/registry.js");
  const heavy = ["node:crypto", "node:http", "node:https", "prom-client"];
  expect(heavy.filter((name) => loaded.has(name))).toEqual([]);
});
