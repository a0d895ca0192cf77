import type { CompletableCommand } from "./completion/model.ts";

/** The commands of the executable. Each is loaded only when it is used; what it takes also for completions. */

interface Command extends CompletableCommand {
  run(args: readonly string[]): Promise<number>;
}

export const COMMANDS = {
  cleanup: {
    summary: "remove from this node what tartan or flanneld made on it",
    run: async (args) => (await import("./cleanup/cleanup.ts")).runCleanup(args),
    spec: async () => (await import("./cleanup/options.ts")).CLEANUP,
  },
  completion: {
    summary: "write a shell's completion script for all of this",
    run: async (args) => (await import("./completion/command.ts")).runCompletion(args, completable()),
    spec: async () => (await import("./completion/command.ts")).COMPLETION,
  },
  diff: {
    summary: "hold what is desired against the kernel, as a plan",
    run: async (args) => (await import("./diff/command.ts")).runDiff(args),
    spec: async () => (await import("./diff/command.ts")).DIFF,
  },
  "docker-opts": {
    summary: "write options for Docker's daemon, made from subnet.env",
    run: async (args) => (await import("./docker-opts.ts")).runDockerOptions(args, process.env),
    spec: async () => (await import("./docker-opts.ts")).DOCKER_OPTS,
  },
  doctor: {
    summary: "check what this node needs for its part of the pod network",
    run: async (args) => (await import("./doctor/doctor.ts")).runDoctor(args),
    spec: async () => (await import("./doctor/options.ts")).DOCTOR,
  },
  events: {
    summary: "show what happened lately, and what happens",
    run: async (args) => (await import("./events/command.ts")).runEvents(args),
    spec: async () => (await import("./events/command.ts")).EVENTS,
  },
  get: {
    summary: "print one resource of the agent's API",
    run: async (args) => (await import("./get.ts")).runGet(args),
    spec: async () => (await import("./get.ts")).GET,
  },
  "install-cni": {
    summary: "install the CNI plugin into the container runtime's folder",
    run: async (args) => (await import("./install-cni/command.ts")).runInstallCni(args),
    spec: async () => (await import("./install-cni/command.ts")).INSTALL_CNI,
  },
  lab: {
    summary: "bring up a pod network on this machine and ping through it",
    run: async (args) => (await import("./lab/lab.ts")).runLab([...args]),
    spec: async () => (await import("./lab/options.ts")).LAB,
  },
  "log-level": {
    summary: "let the agent log more or less",
    run: async (args) => (await import("./control.ts")).runLogLevel(args),
    spec: async () => (await import("./control.ts")).LOG_LEVEL,
  },
  peers: {
    summary: "show the other nodes as this one sees them, trouble first",
    run: async (args) => (await import("./peers/command.ts")).runPeers(args),
    spec: async () => (await import("./peers/command.ts")).PEERS,
  },
  resync: {
    summary: "let the agent read the kernel anew and mend it",
    run: async (args) => (await import("./control.ts")).runResync(args),
    spec: async () => (await import("./control.ts")).RESYNC,
  },
  status: {
    summary: "show this node on one screen",
    run: async (args) => (await import("./status/command.ts")).runStatus(args),
    spec: async () => (await import("./status/command.ts")).STATUS,
  },
  "support-bundle": {
    summary: "gather what helps to find out what is wrong, without secrets",
    run: async (args) =>
      (await import("./bundle/command.ts")).runSupportBundle(args, async (options) =>
        (await import("./doctor/doctor.ts")).doctorReport(options),
      ),
    spec: async () => (await import("./bundle/command.ts")).SUPPORT_BUNDLE,
  },
  trace: {
    summary: "follow a packet to a pod's address through this node's kernel",
    run: async (args) => (await import("./trace/command.ts")).runTrace(args),
    spec: async () => (await import("./trace/command.ts")).TRACE,
  },
} as const satisfies Readonly<Record<string, Command>>;

export type CommandName = keyof typeof COMMANDS;

function completable(): Readonly<Record<string, CompletableCommand>> {
  return COMMANDS;
}

export function isCommand(name: string): name is CommandName {
  return Object.hasOwn(COMMANDS, name);
}
