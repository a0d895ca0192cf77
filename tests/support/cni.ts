import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findPlugin, PLUGIN_FOLDERS } from "../../src/cli/lab/cni/plugins.ts";
import {
  type Attachment,
  CniFailure,
  type Conflist,
  environmentOf,
  type Json,
  CniRunner as PluginRunner,
  parseConflist,
} from "../../src/cli/lab/cni/runner.ts";
import { executable } from "./executable.ts";
import type { Netns } from "./netns.ts";

export { type Attachment as Pod, type Conflist, environmentOf, type Json };

/** The sample for operators, with the plugins' own files in a folder of the test. */
export function sampleConflist(folder: string): Conflist {
  const path = join(import.meta.dir, "..", "..", "manifests", "cni-conflist.json");
  const list = parseConflist(readFileSync(path, "utf8"));
  const files = {
    subnetFile: join(folder, "subnet.env"),
    dataDir: join(folder, "flannel"),
    ipam: { dataDir: join(folder, "networks") },
  };
  return { ...list, plugins: list.plugins.map((one) => (one.type === "flannel" ? { ...one, ...files } : one)) };
}

/** Runs plugins in a node's network namespace, as the lab does, with more for the tests. */
export class CniRunner extends PluginRunner {
  /** the runner's own folder, the first of CNI_PATH, with tartan as `flannel` in it */
  readonly plugins: string;
  readonly #folder: string;

  constructor(node: Netns, folder: string) {
    const plugins = join(folder, "plugins");
    super({ path: [plugins, ...PLUGIN_FOLDERS], within: (command) => node.command(command) });
    this.#folder = folder;
    this.plugins = plugins;
    mkdirSync(this.plugins, { recursive: true });
    symlinkSync(executable(), join(this.plugins, "flannel"));
  }

  /** The path of one of Debian's plugins. */
  debian(type: string): string {
    const path = findPlugin(type);
    if (path === undefined) throw new Error(`no plugin ${type} in ${PLUGIN_FOLDERS.join(", ")}`);
    return path;
  }

  /** Puts a shell script before one of Debian's plugins; its name comes first in CNI_PATH. */
  standIn(type: string, script: string): string {
    const path = join(this.plugins, type);
    writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return path;
  }

  /** The subnet.env of the sample configuration. */
  writeSubnetEnv(lines: Readonly<Record<string, string | number>>): void {
    const text = Object.entries(lines).map(([key, value]) => `${key}=${value}\n`);
    writeFileSync(join(this.#folder, "subnet.env"), text.join(""));
  }

  /** Names of the records: container ids. */
  records(): string[] {
    const folder = join(this.#folder, "flannel");
    return existsSync(folder) ? readdirSync(folder).sort() : [];
  }

  /** Addresses that host-local has given out. */
  addresses(network = "cbr0"): string[] {
    const folder = join(this.#folder, "networks", network);
    const names = existsSync(folder) ? readdirSync(folder) : [];
    return names.filter((name) => /^[\da-f.:]+$/.test(name)).sort();
  }

  async check(list: Conflist, pod: Attachment): Promise<void> {
    for (const entry of list.plugins) await this.callAttached("CHECK", list, entry, pod);
  }

  /** GC of the plugin `flannel` alone: Debian's other plugins have no such verb. */
  async gc(list: Conflist, valid: readonly Attachment[]): Promise<void> {
    const attachments = valid.map((pod) => ({ containerID: pod.containerId, ifname: pod.ifName ?? "eth0" }));
    await this.call("GC", "flannel", { ...this.flannelConf(list), "cni.dev/valid-attachments": attachments });
  }

  async status(list: Conflist): Promise<void> {
    await this.call("STATUS", "flannel", this.flannelConf(list));
  }

  /** The plugin's own configuration, in the version that has STATUS and GC. */
  flannelConf({ name, plugins }: Conflist): Json {
    return { ...plugins.find(({ type }) => type === "flannel"), name, cniVersion: "1.1.0" };
  }
}

/** What a call failed with. @throws Error if it did not fail, or not as CNI has it */
export async function failureOf(call: Promise<unknown>): Promise<CniFailure> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof CniFailure) return error;
  throw new Error("the call did not fail as CNI has it", { cause: error });
}
