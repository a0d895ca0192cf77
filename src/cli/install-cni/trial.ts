import { readFileSync } from "node:fs";
import * as v from "valibot";
import { findHostLibc, glibcVersion, type HostLibc, libraryProblem, loaderCommand } from "./host-libc.ts";

/** Milliseconds; the plugin answers in a fraction of a second. */
const PATIENCE_MS = 30_000;

const CONF = { cniVersion: "1.0.0", name: "trial", type: "flannel" };
const Answer = v.pipe(v.string(), v.parseJson(), v.object({ supportedVersions: v.array(v.string()) }));

/**
 * Runs a file once as the container runtime will: as a CNI plugin, with the host's C library if its root is known.
 * @param hostRoot where the host's root is mounted; undefined: this is the host
 * @returns the version of the glibc that it ran with
 * @throws Error with the reason why it can't be a plugin here
 */
export function tryPlugin(path: string, hostRoot: string | undefined): string | undefined {
  if (hostRoot === undefined) {
    ask([path]);
    return undefined;
  }
  const host = findHostLibc(hostRoot);
  const glibc = checkLibraries(path, host);
  ask(loaderCommand(host, path));
  return glibc;
}

function checkLibraries(path: string, host: HostLibc): string | undefined {
  const listing = run(loaderCommand(host, path, "--list"));
  const problem = libraryProblem(host, listing, (libc) => glibcVersion(readFileSync(libc)));
  if (problem !== undefined) throw new Error(problem);
  const libc = /^\s*libc\.so\.6 => (\S+)/m.exec(listing.stdout)?.[1];
  return libc && glibcVersion(readFileSync(libc));
}

function ask(command: readonly string[]): void {
  const { stdout, stderr, outcome } = run(command);
  if (outcome !== undefined) throw new Error(`run as a CNI plugin it ${outcome}: ${(stderr || stdout).trim()}`);
  const answer = v.safeParse(Answer, stdout);
  if (answer.success && answer.output.supportedVersions.includes(CONF.cniVersion)) return;
  throw new Error(`run as a CNI plugin it does not answer as CNI has it: ${stdout.slice(0, 200).trim() || "nothing"}`);
}

interface Run {
  readonly stdout: string;
  readonly stderr: string;
  /** how it ended, unless well */
  readonly outcome: string | undefined;
}

/** Nothing of our environment may lead its loader to other libraries. */
function run(command: readonly string[]): Run {
  const child = spawn(command);
  const { exitCode, signalCode } = child;
  return { stdout: child.stdout.toString(), stderr: child.stderr.toString(), outcome: ending(exitCode, signalCode) };
}

function spawn(command: readonly string[]) {
  try {
    return Bun.spawnSync([...command], {
      env: { CNI_COMMAND: "VERSION" },
      stdin: Buffer.from(JSON.stringify(CONF)),
      stdout: "pipe",
      stderr: "pipe",
      timeout: PATIENCE_MS,
    });
  } catch (cause) {
    throw new Error(`${command[0]} can't be started; is its file system mounted with noexec?`, { cause });
  }
}

function ending(code: number | null, signal: string | number | undefined): string | undefined {
  if (signal === "SIGILL") return "ends by SIGILL, for this CPU lacks instructions that the build needs";
  if (signal) return `ends by ${signal}`;
  return code === 0 ? undefined : `ends with exit code ${code}`;
}
