import { resolve } from "node:path";
import * as v from "valibot";
import { VERSION } from "../../base/version.ts";
import { mustBe, parsed } from "../../config/schema.ts";
import { type CommandSpec, HELP, type OptionSpecs, optionsHelp, parseOptions } from "../options.ts";
import { install } from "./install.ts";
import { tryPlugin } from "./trial.ts";

/** `tartan install-cni`: this executable as the CNI plugin of the host, from an init container or on the host itself. */

const folder = (path: string) => (path === "" || path.includes("\0") ? undefined : resolve(path));
const FOLDER = parsed(folder, "the path of a folder");

const OPTIONS = {
  "cni-bin-dir": {
    value: "PATH",
    usage: "folder of the runtime's plugins; /opt/cni/bin if not given",
    schema: v.optional(FOLDER, "/opt/cni/bin"),
  },
  name: {
    value: "NAME",
    usage: "name there, the type in a conflist; flannel if not given",
    schema: v.optional(v.pipe(v.string(), v.regex(/^\w[\w.-]*$/, mustBe("a name such as flannel"))), "flannel"),
  },
  "host-root": {
    value: "PATH",
    usage: "in a container: where the host's root is, be it read-only",
    schema: v.optional(FOLDER),
  },
  help: HELP,
} as const satisfies OptionSpecs;

export const INSTALL_CNI: CommandSpec = { options: OPTIONS, args: {} };

const TEXT = `Usage: tartan install-cni [OPTION]...

Copies this executable into the folder of the container runtime's CNI plugins.
It takes the place of what has its name there in one step, when it is on the
disk as a whole and has run once as a plugin; where it can't run, nothing is
changed and the reason is told. A pod that is being made goes on with the
plugin that it began with. If the same plugin is there nothing is written.

The container runtime runs plugins on the host. In a container let --host-root
say where the host's root is: the trial then runs with the host's C library.

Options:
${optionsHelp(OPTIONS)}

Example, in an init container with the host's / at /host, and its /opt/cni/bin:
  tartan install-cni --host-root=/host

Exit code: 0 the plugin is there; 1 it is not installed, with the reason;
2 wrong options.
`;

/** @returns the exit code @throws UsageError, Error with its cause and the next step */
export async function runInstallCni(args: readonly string[]): Promise<number> {
  const options = parseOptions(OPTIONS, args);
  if (options.help) {
    process.stdout.write(TEXT);
    return 0;
  }
  const { "cni-bin-dir": into, name, "host-root": hostRoot } = options;
  let glibc: string | undefined;
  const wrote = await install({
    source: "/proc/self/exe",
    folder: into,
    name,
    check: (path) => {
      glibc = tryPlugin(path, hostRoot);
    },
  });
  const what = wrote ? "is installed" : "was there already";
  const how = glibc === undefined ? "" : ` with the host's glibc ${glibc}`;
  process.stdout.write(`${into}/${name} ${what}: version ${VERSION}, which runs${how}\n`);
  return 0;
}
