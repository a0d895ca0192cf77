/** What a command that ran to its end left. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

// A plain user's PATH, which sudo and su may keep, lacks the folders where ip is.
const PATH = [process.env["PATH"] ?? "", "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].join(":");

/** The commands that the lab runs, and the Debian packages that they are in. */
const PACKAGES = {
  ip: "iproute2",
  ping: "iputils-ping",
  nsenter: "util-linux",
  iptables: "iptables",
  openssl: "openssl",
  xz: "xz-utils",
} as const;
type Tool = keyof typeof PACKAGES;

/** What every lab needs of them. */
const ALWAYS: readonly Tool[] = [
  ...["ip" as const, "ping" as const, "nsenter" as const],
  // The CNI plugin portmap calls it, whatever the agents make their rules by.
  "iptables",
];

/** The environment of what the lab starts: nothing of the caller's that could configure it, messages in English. */
export const ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH,
  LC_ALL: "C",
  HOME: process.env["HOME"] ?? "/root",
};

/** The path of a command. @throws Error with the package to install */
export function tool(name: Tool): string {
  const path = onPath(name);
  if (path === undefined) throw new Error(`the command ${name} is missing; on Debian: apt install ${PACKAGES[name]}`);
  return path;
}

/** @returns the path of a command, wherever a user's or root's PATH has it */
export function onPath(name: string): string | undefined {
  return Bun.which(name, { PATH }) ?? undefined;
}

/**
 * @param further what this lab needs beside that which all need
 * @throws Error naming what is missing and the packages to install
 */
export function requireTools(further: readonly Tool[]): void {
  const missing = [...ALWAYS, ...further].filter((name) => onPath(name) === undefined);
  if (missing.length === 0) return;
  const packages = missing.map((name) => PACKAGES[name]).join(" ");
  throw new Error(`missing commands: ${missing.join(", ")}; on Debian: apt install ${packages}`);
}

/** An argument as a shell takes it. */
export function quote(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : Bun.$.escape(argument);
}

/** The command line that runs `command` in a named network namespace, in one process. */
export function inside(namespace: string, command: readonly string[]): string[] {
  return [tool("nsenter"), `--net=${namespacePath(namespace)}`, ...command];
}

export function namespacePath(namespace: string): string {
  return `/run/netns/${namespace}`;
}

/**
 * Runs a command to its end, in a session of its own: Ctrl-C in the terminal reaches the lab alone.
 * @param input what it gets on stdin
 * @throws the signal's reason once the command is killed, if the signal aborts
 */
export async function run(command: readonly string[], input = "", signal?: AbortSignal): Promise<CommandResult> {
  signal?.throwIfAborted();
  const child = Bun.spawn([...command], {
    stdin: new TextEncoder().encode(input),
    stdout: "pipe",
    stderr: "pipe",
    env: ENVIRONMENT,
    detached: true,
  });
  const kill = () => child.kill("SIGKILL");
  signal?.addEventListener("abort", kill);
  try {
    const [code, stdout, stderr] = await Promise.all([child.exited, child.stdout.text(), child.stderr.text()]);
    signal?.throwIfAborted();
    return { code, stdout, stderr };
  } finally {
    signal?.removeEventListener("abort", kill);
  }
}
