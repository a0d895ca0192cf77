/** What a command that ran to its end left. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

// A plain user's PATH, which sudo and su may keep, lacks the folders where ip is.
const PATH = [process.env["PATH"] ?? "", "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].join(":");

/** The commands that the lab runs, and the Debian packages that they are in. */
const PACKAGES = { ip: "iproute2", ping: "iputils-ping", nsenter: "util-linux" } as const;

/** The environment of what the lab starts: nothing of the caller's that could configure it, messages in English. */
export const ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH,
  LC_ALL: "C",
  HOME: process.env["HOME"] ?? "/root",
};

/** The path of a command. @throws Error with the package to install */
export function tool(name: keyof typeof PACKAGES): string {
  const path = Bun.which(name, { PATH });
  if (path === null) throw new Error(`the command ${name} is missing; on Debian: apt install ${PACKAGES[name]}`);
  return path;
}

/** @throws Error naming what is missing and the packages to install */
export function requireTools(): void {
  const missing = (Object.keys(PACKAGES) as (keyof typeof PACKAGES)[]).filter(
    (name) => Bun.which(name, { PATH }) === null,
  );
  if (missing.length === 0) return;
  const packages = missing.map((name) => PACKAGES[name]).join(" ");
  throw new Error(`missing commands: ${missing.join(", ")}; on Debian: apt install ${packages}`);
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
