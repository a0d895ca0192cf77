import { accessSync, constants, statSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { describeError, hasCode } from "../../../base/errors.ts";
import { sameContent } from "../../../base/same-content.ts";
import { VERSION } from "../../../base/version.ts";
import { type Check, error, type Finding, NotApplicable, ok, skipped, warning } from "../check.ts";
import type { Context } from "../context.ts";
import { namesIn } from "../files.ts";
import { pluginsCalled, readConfFiles } from "./cni-conf.ts";

/** The plugins that the container runtime runs. */

export type PluginFile = "there" | "missing" | "not executable";

export interface PluginsFacts {
  readonly folder: string;
  readonly plugins: readonly { readonly type: string; readonly file: PluginFile }[];
}

/** Pure. */
export function judgePlugins({ folder, plugins }: PluginsFacts): readonly Finding[] {
  const findings = plugins.flatMap(({ type, file }): Finding[] => {
    if (file === "there") return [];
    const path = join(folder, type);
    if (file === "not executable")
      return [error(`${path} is there, but it is no executable file`, `chmod 755 ${path}`)];
    if (type === "flannel")
      return [error(`the plugin ${path} is missing: no pod can be made`, `tartan install-cni --cni-bin-dir=${folder}`)];
    return [
      error(
        `the plugin ${path} is missing`,
        `install the CNI plugins there (Debian: apt install containernetworking-plugins, which has them in /usr/lib/cni)`,
      ),
    ];
  });
  const named = plugins.map(({ type }) => type).join(", ");
  return findings.length > 0 ? findings : [ok(`${named} are in ${folder}`)];
}

function folderOf(context: Context): string {
  const given = context.options["cni-bin-dir"];
  const folder = given ?? context.hostPath("/opt/cni/bin");
  if (given === undefined && context.isApart && namesIn(folder) === undefined)
    throw new NotApplicable(`${folder} of the host is not mounted here: run it on the host, or give --host-root`);
  return folder;
}

function fileState(path: string): PluginFile {
  try {
    if (!statSync(path).isFile()) return "not executable";
    accessSync(path, constants.X_OK);
    return "there";
  } catch (cause) {
    if (hasCode(cause, "ENOENT", "ENOTDIR", "ELOOP")) return "missing";
    if (hasCode(cause, "EACCES")) return "not executable";
    throw cause;
  }
}

const plugins: Check = {
  group: "CNI",
  name: "cni-plugins",
  find: (context) => {
    const folder = folderOf(context);
    const types = pluginsCalled(confFiles(context));
    return judgePlugins({ folder, plugins: types.map((type) => ({ type, file: fileState(join(folder, type)) })) });
  },
};

function confFiles(context: Context) {
  try {
    return readConfFiles(context).files;
  } catch (cause) {
    if (cause instanceof NotApplicable) return [];
    throw cause;
  }
}

/** What the plugin `flannel` says of itself. */
export interface PluginAnswers {
  /** its first line for --version, if it ended well */
  readonly version: string | undefined;
  /** those of the CNI specification that it tells by VERSION; undefined: it did not answer as CNI has it */
  readonly supported: readonly string[] | undefined;
  /** what it wrote instead */
  readonly said: string;
}

/** @param path of the plugin. Pure. */
export function judgePluginVersion(path: string, own: string, { version, supported, said }: PluginAnswers): Finding {
  const install = "tartan install-cni (the manifest's init container does it)";
  if (supported === undefined)
    return error(`${path} does not answer as a CNI plugin: ${said || "it says nothing"}`, install);
  if (version === own) return ok(`${path} is ${own} and speaks CNI ${supported[0]} to ${supported.at(-1)}`);
  const isOurs = version !== undefined && /^\d+\.\d+\.\d+\S*$/.test(version);
  return warning(
    `${path} is ${isOurs ? `tartan ${version}` : "not tartan's plugin"}, this executable is ${own}`,
    install,
  );
}

const Answer = v.pipe(v.string(), v.parseJson(), v.object({ supportedVersions: v.array(v.string()) }));
const CONF = JSON.stringify({ cniVersion: "1.0.0", name: "doctor", type: "flannel" });

const pluginVersion: Check = {
  group: "CNI",
  name: "cni-plugin-version",
  find: async (context) => {
    const path = join(folderOf(context), "flannel");
    if (fileState(path) !== "there") return [skipped(`${path} is not there, see cni-plugins`)];
    if (context.options["host-root"] !== undefined) {
      // Here it would run with the container's libraries, not with the host's.
      return [
        sameContent("/proc/self/exe", path)
          ? ok(`${path} is this executable, ${VERSION}`)
          : warning(
              `${path} is another version than this executable, or another's`,
              "tartan install-cni --host-root=/host",
            ),
      ];
    }
    const answer = await run([path], { CNI_COMMAND: "VERSION" }, context.signal);
    const parsed = v.safeParse(Answer, answer.stdout);
    const asked = parsed.success ? await run([path, "--version"], {}, context.signal) : undefined;
    return [
      judgePluginVersion(path, VERSION, {
        version: asked?.code === 0 ? asked.stdout.trim().split("\n")[0] : undefined,
        supported: parsed.success ? parsed.output.supportedVersions : undefined,
        said: (answer.stderr || answer.stdout).trim().slice(0, 200),
      }),
    ];
  },
};

/** Runs the plugin as the container runtime does. @returns code 1 and why where it can't be started */
async function run(command: readonly string[], env: Record<string, string>, signal: AbortSignal) {
  try {
    const child = Bun.spawn([...command], { stdin: Buffer.from(CONF), stdout: "pipe", stderr: "pipe", env, signal });
    const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return { stdout, stderr, code };
  } catch (cause) {
    return { stdout: "", stderr: `it can't be started: ${describeError(cause)}`, code: 1 };
  }
}

export const PLUGIN_CHECKS = [plugins, pluginVersion];
