import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { describeError } from "../../base/errors.ts";
import type { Findings, Item } from "./item.ts";

/** What makes a CNI configuration flannel's: a plugin of that type, alone or in a list (CNI spec, section 1). */
const Plugin = v.object({ type: v.string() });
const CniConfig = v.union([v.object({ plugins: v.array(Plugin) }), Plugin]);

export interface FileOptions {
  readonly subnetFile: string;
  /** where the kubelet's runtime looks for CNI configurations */
  readonly cniFolder: string;
}

/** subnet.env, and the CNI configurations that call the plugin flannel. */
export function findFiles({ subnetFile, cniFolder }: FileOptions): Findings {
  const problems: string[] = [];
  const items: Item[] = existsSync(subnetFile) ? [file(subnetFile, "subnet.env")] : [];
  let names: string[] = [];
  try {
    names = readdirSync(cniFolder).sort();
  } catch (error) {
    if (existsSync(cniFolder)) problems.push(`can't look into ${cniFolder}: ${describeError(error)}`);
  }
  for (const name of names.filter((each) => /\.(conf|conflist|json)$/.test(each))) {
    const path = join(cniFolder, name);
    try {
      if (callsFlannel(readFileSync(path, "utf8"))) items.push(file(path, "CNI configuration"));
    } catch (error) {
      problems.push(`can't read ${path}, it is left alone: ${describeError(error)}`);
    }
  }
  return { items, problems };
}

/** @throws Error if it is no JSON */
export function callsFlannel(text: string): boolean {
  const config = v.safeParse(CniConfig, JSON.parse(text));
  if (!config.success) return false;
  const plugins = "plugins" in config.output ? config.output.plugins : [config.output];
  return plugins.some(({ type }) => type === "flannel");
}

function file(path: string, what: string): Item {
  return { kind: "file", name: `${path} (${what})`, remove: () => rmSync(path) };
}
