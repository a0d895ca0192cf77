import { existsSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { namesIn, readIfThere } from "./files.ts";

/** Something that the kernel has built in, as a module, or not at all. */
export interface Feature {
  /** module's name, with underscores */
  readonly module: string;
  /** of the kernel's configuration, without CONFIG_ */
  readonly option: string;
}

/**
 * - `here`: built in, or loaded
 * - `loadable`: as a module that is loaded when it is needed
 * - `missing`
 * - `unknown`: nothing that can be read says so
 */
export type Presence = "here" | "loadable" | "missing" | "unknown";

/** What can be read of a kernel's parts without asking for one, which may load a module. */
export interface KernelFeatures {
  /** `uname -r` */
  readonly release: string;
  /** undefined: the kernel has no modules */
  readonly loaded: ReadonlySet<string> | undefined;
  /** parts of any kind that show under /sys/module */
  readonly shown: ReadonlySet<string>;
  /** undefined: not to be read */
  readonly builtIn: ReadonlySet<string> | undefined;
  readonly available: ReadonlySet<string> | undefined;
  /** `y` or `m` by option; undefined: not to be read */
  readonly config: ReadonlyMap<string, string> | undefined;
}

/** Whether the kernel has a feature. Pure. */
export function presenceOf({ module, option }: Feature, facts: KernelFeatures): Presence {
  const { loaded, shown, builtIn, available, config } = facts;
  const configured = config?.get(option);
  if (loaded?.has(module) || shown.has(module) || builtIn?.has(module) || configured === "y") return "here";
  if (loaded !== undefined && available?.has(module)) return "loadable";
  if (loaded === undefined && config !== undefined) return "missing";
  // Configured, but maybe in a package of its own that is not installed.
  if (configured === "m") return available === undefined ? "loadable" : "missing";
  if (config !== undefined || (builtIn !== undefined && available !== undefined)) return "missing";
  return "unknown";
}

/** @param root of the host */
export function readFeatures(root: string): KernelFeatures {
  const version = release();
  const folder = join(root, "lib/modules", version);
  const loaded = readIfThere("/proc/modules");
  return {
    release: version,
    loaded: loaded === undefined ? undefined : new Set(loaded.split("\n").map((line) => line.split(" ")[0] ?? "")),
    shown: new Set(namesIn("/sys/module")),
    builtIn: modulesIn(readIfThere(join(folder, "modules.builtin"))),
    available: modulesIn(readIfThere(join(folder, "modules.dep"))),
    config: configIn(readConfig(root, version)),
  };
}

/** `kernel/drivers/net/vxlan/vxlan.ko.xz: …`, a line each. */
function modulesIn(text: string | undefined): ReadonlySet<string> | undefined {
  return text === undefined
    ? undefined
    : new Set([...text.matchAll(/([^/\n]+)\.ko[.\w]*(?::.*)?$/gm)].map(([, name = ""]) => name.replaceAll("-", "_")));
}

function configIn(text: string | undefined): ReadonlyMap<string, string> | undefined {
  if (text === undefined) return undefined;
  return new Map([...text.matchAll(/^CONFIG_(\w+)=([ym])$/gm)].map(([, option = "", value = ""]) => [option, value]));
}

function readConfig(root: string, version: string): string | undefined {
  if (existsSync("/proc/config.gz")) return gunzipSync(readFileSync("/proc/config.gz")).toString();
  return (
    readIfThere(join(root, "boot", `config-${version}`)) ?? readIfThere(join(root, "lib/modules", version, "config"))
  );
}
