import { existsSync, readFileSync } from "node:fs";
import { describeError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { writeWholeFile } from "../base/write-file.ts";
import { conflistProblem } from "../config/conflist.ts";
import type { CniConfFlags } from "../config/flags.ts";
import type { CniConfFacts } from "../status/facts.ts";

const log = logger("agent");

/** How often the file is looked at, so that one that somebody removed is back within a second. */
const CHECK_MS = 900;

/**
 * Keeps the CNI configuration in the container runtime's folder. Until that is there the kubelet has the node NotReady and
 * starts no pods on it: so it is written when the agent is ready for the first time, and from then on it stays, also when
 * the agent stops. The source is read once; a change of it counts from the next start on.
 *
 * Others may add their plugin to the list, as service meshes do, and would do so again and again if it were taken back
 * here. So the file is written over at the start, and after that only when it is gone or no such list any more.
 */
export class CniConfKeeper {
  readonly #flags: CniConfFlags;
  #timer: Timer | undefined;
  /** the source's text, once it is a conflist that calls our plugin */
  #wanted: string | undefined;
  #written = false;
  #looks = 0;
  /** what the file had at the last look, if that was no conflist: somebody may be writing it */
  #broken: string | undefined;
  #problem: string | undefined;

  constructor(flags: CniConfFlags) {
    this.#flags = flags;
  }

  /** The node is ready; what follows the first time is nothing. */
  start(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => this.#look(), CHECK_MS);
    this.#look();
  }

  facts(): CniConfFacts {
    const { source, file } = this.#flags;
    const problem = this.#problem;
    const [written, looks] = [this.#written, this.#looks];
    return { source, file, written, looks, ...(problem === undefined ? {} : { problem }) };
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    let problem: string | undefined;
    try {
      this.#wanted ??= readSource(this.#flags.source);
      if (!this.#written || this.#isLost()) this.#write(this.#wanted);
    } catch (error) {
      problem = describeError(error);
      if (problem !== this.#problem) log.warn("cni: {problem}", { problem });
    }
    this.#problem = problem;
    this.#looks++;
  }

  /** Whether the file is gone, or has been no conflist with our plugin at two looks. @throws Error with the next step */
  #isLost(): boolean {
    const { file } = this.#flags;
    if (!existsSync(file)) return true;
    const text = readConflist(file);
    const before = this.#broken;
    this.#broken = conflistProblem(text) === undefined ? undefined : text;
    return this.#broken !== undefined && this.#broken === before;
  }

  #write(wanted: string): void {
    const { file } = this.#flags;
    this.#broken = undefined;
    if (!isThere(file, wanted)) {
      writeWholeFile(file, wanted, { mode: 0o644, directoryMode: 0o755, sync: true });
      log.info("wrote {path}", { path: file });
    }
    this.#written = true;
  }
}

/** @throws Error with its cause and the next step */
function readConflist(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new Error(`${path} can't be read, by the container runtime neither: remove it, and it is written anew`, {
      cause,
    });
  }
}

/** @throws Error that says what is wrong with it */
function readSource(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new Error(`${path} can't be read, so that the container runtime gets no CNI configuration`, { cause });
  }
  const problem = conflistProblem(text);
  if (problem === undefined) return text;
  throw new Error(`${path} can't be used, so that the container runtime gets no CNI configuration: ${problem}`);
}

function isThere(path: string, text: string): boolean {
  try {
    return readFileSync(path, "utf8") === text;
  } catch {
    // Missing, or whatever else is in the way: writing it will tell.
    return false;
  }
}
