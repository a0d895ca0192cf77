// Child processes of the set-up, its messages and its errors.
import { spawn } from "node:child_process";
import { constants } from "node:os";

/** What stops the set-up, as one line for the user. */
export class SetupError extends Error {
  name = "SetupError";
}

/** Ctrl-C or SIGTERM: says nothing, ends with the shell's exit code for the signal. */
export class InterruptedError extends Error {
  name = "InterruptedError";

  constructor(signal) {
    super(`interrupted by ${signal}`);
    this.exitCode = 128 + constants.signals[signal];
  }
}

export function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

let interruptedBy;
let running;
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    interruptedBy = signal;
    running?.kill(signal);
  });
}

function stopIfInterrupted() {
  if (interruptedBy !== undefined) throw new InterruptedError(interruptedBy);
}

/**
 * Runs a command without input.
 * @param stdio where its output goes: `pipe` into the result, `inherit` to the user
 * @returns its exit code (undefined if a signal ended it) and everything that it printed
 * @throws SetupError if it can't be started, InterruptedError once it has ended if we were to stop meanwhile
 */
export async function run(command, args, { cwd, env, stdio = "pipe" } = {}) {
  stopIfInterrupted();
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", stdio, stdio] });
  running = child;
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
  }
  let code;
  try {
    code = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
  } catch (error) {
    throw new SetupError(`${command} does not run: ${error.message}`, { cause: error });
  }
  running = undefined;
  stopIfInterrupted();
  return { code: code ?? undefined, output };
}

/** Resolves after `ms` milliseconds. @throws InterruptedError */
export async function pause(ms) {
  await new Promise((resolve) => setTimeout(resolve, ms));
  stopIfInterrupted();
}

/** The first line of `output` that matches, without what matched, or `otherwise`. */
export function lineOf(output, pattern, otherwise) {
  const line = output.split("\n").find((text) => pattern.test(text));
  return line?.replace(pattern, "").trim() || otherwise;
}
