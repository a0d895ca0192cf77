import { dirname, join } from "node:path";
import * as v from "valibot";
import { describeError } from "../../../base/errors.ts";
import { conflistProblem } from "../../../config/conflist.ts";
import { type Check, error, type Finding, NotApplicable, orOk, skipped, warning } from "../check.ts";
import type { Context } from "../context.ts";
import { namesIn, readIfThere } from "../files.ts";

/** The container runtime's CNI configurations: it takes the first by name. */

export interface ConfFile {
  readonly name: string;
  readonly text: string;
}

export interface CniConfFacts {
  readonly folder: string;
  /** those that the runtime looks at, by name */
  readonly files: readonly ConfFile[];
  /** the agent is there to write ours, and ready */
  readonly isDue: boolean;
}

/** What the runtime takes from a folder (libcni, ConfFiles). */
const CONF_NAME = /\.(conf|conflist|json)$/;

const Plugin = v.object({ type: v.string() });
const CniConf = v.object({
  name: v.optional(v.string()),
  type: v.optional(v.string()),
  plugins: v.optional(v.array(Plugin)),
});

interface Decoded {
  readonly name: string;
  /** of its plugins */
  readonly types: readonly string[];
  readonly problem?: string;
}

function decode({ name, text }: ConfFile): Decoded {
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), CniConf), text);
  if (!parsed.success) return { name, types: [], problem: text.trim() === "" ? "it is empty" : jsonProblem(text) };
  const { type, plugins = type === undefined ? [] : [{ type }] } = parsed.output;
  const types = plugins.map((plugin) => plugin.type);
  return { name, types, ...(types.length === 0 ? { problem: "it is no CNI configuration" } : {}) };
}

function jsonProblem(text: string): string {
  try {
    JSON.parse(text);
    return "it is no CNI configuration";
  } catch (cause) {
    return `it is not JSON: ${describeError(cause)}`;
  }
}

/** Pure. */
export function judgeCniConf({ folder, files, isDue }: CniConfFacts): readonly Finding[] {
  const decoded = files.map(decode);
  const at = decoded.findIndex(({ types }) => types.includes("flannel"));
  const findings = decoded.flatMap(({ name, types, problem }, index): Finding[] => {
    const path = join(folder, name);
    const isBefore = at < 0 || index < at;
    if (problem !== undefined) {
      const text = `${path}: ${problem}`;
      return [
        isBefore
          ? error(
              `${text}; it comes ${at < 0 ? "first" : "before flannel's"} by name, and some runtimes go no further`,
              `rm ${path}, or correct it`,
            )
          : warning(text, `rm ${path}, or correct it`),
      ];
    }
    if (!isBefore || at < 0) return [];
    return [
      error(
        `${path} (${types.join(", ")}) comes before flannel's by name, so pods are not made by tartan`,
        `take the other CNI away, then: rm ${path}`,
      ),
    ];
  });
  const own = files[at];
  if (own === undefined) {
    const others = decoded.filter(({ problem }) => problem === undefined).map(({ name }) => name);
    const there = others.length > 0 ? ` (only ${others.join(", ")})` : "";
    const text = `no CNI configuration in ${folder} calls flannel${there}`;
    const fix = `run the agent with --cni-conf-file=${join(folder, "10-flannel.conflist")}, or put one there (manifests/cni-conflist.json)`;
    return [
      ...findings,
      isDue || others.length > 0 ? warning(text, fix) : skipped(`${text}: it comes with the agent, or by hand`),
    ];
  }
  const problem = own.name.endsWith(".conflist") ? conflistProblem(own.text) : undefined;
  if (problem !== undefined)
    findings.push(error(`${join(folder, own.name)}: ${problem}`, "write it anew from manifests/cni-conflist.json"));
  return orOk(findings, `the runtime takes ${join(folder, own.name)}, which calls flannel`);
}

/** The folder, and what is in it. @throws NotApplicable */
export function readConfFiles(context: Context): { folder: string; files: ConfFile[] } {
  const { "cni-conf-dir": given } = context.options;
  const { cniConf } = context.settings.flags;
  const folder = given ?? context.hostPath(cniConf === undefined ? "/etc/cni/net.d" : dirname(cniConf.file));
  const names = namesIn(folder);
  if (names === undefined && given === undefined && context.isApart)
    throw new NotApplicable(`${folder} of the host is not mounted here`);
  const files = (names ?? [])
    .filter((name) => CONF_NAME.test(name))
    .map((name) => ({ name, text: readIfThere(join(folder, name)) ?? "" }));
  return { folder, files };
}

const cniConf: Check = {
  group: "CNI",
  name: "cni-conf",
  find: (context) => {
    const isDue = context.agent?.readiness.ready === true;
    return judgeCniConf({ ...readConfFiles(context), isDue });
  },
};

/** The types of plugins that flannel's configuration calls beside flannel itself. */
export function pluginsCalled(files: readonly ConfFile[]): string[] {
  const Delegate = v.object({
    plugins: v.array(
      v.looseObject({
        type: v.string(),
        delegate: v.optional(v.object({ type: v.optional(v.string()) })),
        ipam: v.nullish(v.object({ type: v.optional(v.string()) })),
      }),
    ),
  });
  const lists = files.flatMap(({ text }) => {
    const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), Delegate), text);
    return parsed.success && parsed.output.plugins.some(({ type }) => type === "flannel")
      ? [parsed.output.plugins]
      : [];
  });
  const plugins = lists[0] ?? [
    { type: "flannel", delegate: undefined, ipam: undefined },
    { type: "portmap", delegate: undefined, ipam: undefined },
  ];
  const called = plugins.flatMap(({ type, delegate, ipam }) =>
    type === "flannel" ? [type, delegate?.type ?? "bridge", ipam?.type ?? "host-local"] : [type],
  );
  // Runtimes bring up lo by it.
  return [...new Set([...called, "loopback"])];
}

export const CNI_CONF_CHECKS = [cniConf];
