import { resolve } from "node:path";
import * as v from "valibot";
import { mustBe, parsed } from "../../config/schema.ts";
import { type CommandSpec, HELP, type OptionSpecs, OUTPUT, optionsHelp, parseOptions } from "../options.ts";

const folder = (path: string) => (path === "" || path.includes("\0") ? undefined : resolve(path));
const FOLDER = v.optional(parsed(folder, "the path of a folder"));

const OPTIONS = {
  output: OUTPUT,
  "cni-conf-dir": {
    value: "PATH",
    usage: "CNI configurations; else /etc/cni/net.d",
    schema: FOLDER,
  },
  "cni-bin-dir": { value: "PATH", usage: "CNI plugins; else /opt/cni/bin", schema: FOLDER },
  "host-root": { value: "PATH", usage: "in a container: the host's root", schema: FOLDER },
  timeout: {
    value: "SECONDS",
    usage: "for each check; 15 if not given",
    schema: v.optional(
      v.pipe(v.string(), v.regex(/^[1-9]\d{0,2}$/, mustBe("a number of seconds from 1 to 999")), v.transform(Number)),
      "15",
    ),
  },
  help: HELP,
} as const satisfies OptionSpecs;

export const DOCTOR: CommandSpec = { options: OPTIONS, args: {}, takesFlags: true };

export type DoctorOptions = ReturnType<typeof parseOwn>;

function parseOwn(args: readonly string[]) {
  return parseOptions(OPTIONS, args);
}

/**
 * Takes the command's own options out of the command line; the rest are the agent's flags.
 * @throws UsageError
 */
export function parseDoctorOptions(args: readonly string[]): { options: DoctorOptions; agentArgs: string[] } {
  const specs: Readonly<Record<string, { short?: string; value?: string }>> = OPTIONS;
  const known = new Map(
    Object.entries(specs).flatMap(([name, spec]) =>
      [name, spec.short].flatMap((one) => (one === undefined ? [] : [[one, spec.value !== undefined] as const])),
    ),
  );
  const own: string[] = [];
  const agentArgs: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] ?? "";
    const [, name = "", value] = /^--?([\w-]+)(=.*)?$/s.exec(arg) ?? [];
    const takesValue = known.get(name);
    if (takesValue === undefined) {
      agentArgs.push(arg);
      continue;
    }
    own.push(arg);
    const next = args[at + 1];
    if (takesValue && value === undefined && next !== undefined) {
      own.push(next);
      at++;
    }
  }
  return { options: parseOwn(own), agentArgs };
}

/** `tartan doctor --help`. */
export function doctorHelp(): string {
  return `Usage: tartan doctor [OPTION]... [AGENT FLAG]...

Checks whether this node can have its part of the pod network, before tartan is
installed and after: its agent, the lease source, kernel, interfaces, packet
filter and CNI. Each finding is ok, a warning or an error with what to do about
it, or skipped with the reason. Nothing on the node is changed.

The configuration is that of the agent's flags if some are given, else that of
the agent that runs here, else the defaults. An agent that runs is asked what it
sees, at its --debug-addr. Without root some checks are skipped.

Options:
${optionsHelp(OPTIONS)}

Agent flags: see tartan --help.

Examples:
  tartan doctor                           where an agent runs, or none yet
  tartan doctor --kube-subnet-mgr --kubeconfig-file=/etc/kubernetes/admin.conf
  tartan doctor --etcd-endpoints=https://192.0.2.11:2379 --etcd-cafile=ca.pem
  kubectl -n kube-flannel exec ds/kube-flannel-ds -- tartan doctor

Exit code, by the worst finding: 0 all is ok or skipped, 1 a warning, 3 an
error; 2 wrong options.
`;
}
