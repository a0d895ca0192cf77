import * as v from "valibot";
import { type CommandSpec, HELP, OUTPUT, optionsHelp, parseOptions, SWITCH } from "../options.ts";

const OPTIONS = {
  yes: { short: "y", usage: "do not ask first", schema: SWITCH },
  "dry-run": { usage: "show what there is, remove nothing", schema: SWITCH },
  force: { usage: "go on although an agent runs, which will make it all again", schema: SWITCH },
  "subnet-file": {
    value: "PATH",
    usage: "the CNI plugin's file; /run/flannel/subnet.env if not given",
    schema: v.optional(v.string(), "/run/flannel/subnet.env"),
  },
  "cni-conf-dir": {
    value: "PATH",
    usage: "folder of the CNI configurations; /etc/cni/net.d if not given",
    schema: v.optional(v.string(), "/etc/cni/net.d"),
  },
  output: OUTPUT,
  help: HELP,
} as const;

export const CLEANUP: CommandSpec = { options: OPTIONS, args: {} };

export type CleanupOptions = ReturnType<typeof parseCleanupOptions>;

/** @throws UsageError */
export function parseCleanupOptions(args: readonly string[]) {
  return parseOptions(OPTIONS, args);
}

/** `tartan cleanup --help`. */
export function cleanupHelp(): string {
  return `Usage: tartan cleanup [OPTION]...

Removes from this node what tartan or flanneld made on it: their VXLAN devices
with all entries, their routes, their masquerade and forward rules, subnet.env
and the CNI configurations that call the plugin flannel. Pods on this node lose
the pod network. The node's lease stays where leases are kept, and so do cni0
and the pods' interfaces, which the CNI plugins made.

Stop the agent first. Needs root.

Options:
${optionsHelp(OPTIONS)}

Examples:
  tartan cleanup --dry-run               what there is
  tartan cleanup --yes                   remove it all without asking
  ip netns exec NAME tartan cleanup      in another network namespace

Exit code: 0 nothing is left (or --dry-run), 1 something is left, with its
cause, or the answer was no, 2 wrong options.
`;
}
