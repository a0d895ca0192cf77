import { accessSync, constants, statSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import type { JsonObject } from "./conf.ts";
import { type Environment, pluginFolders, type Verb } from "./environment.ts";
import { CniError, CODE, parseErrorAnswer } from "./errors.ts";
import { atLeast, isVersion, type Version } from "./versions.ts";

/** Calls other plugins as a runtime does. */

const VersionAnswer = v.object({ supportedVersions: v.array(v.string()) });
const Result = v.record(v.string(), v.unknown());

/**
 * @param use what the plugin is for, as it is told
 * @throws CniError with `code`
 */
export function findPlugin(type: string, use: string, environment: Environment, code: number): string {
  const folders = pluginFolders(environment);
  const path = folders.map((folder) => join(folder, type)).find(isExecutable);
  if (path !== undefined) return path;
  const message = `the plugin ${type}, ${use}, is in no folder of CNI_PATH`;
  const details = `looked in ${folders.join(", ")}; Debian has it in containernetworking-plugins`;
  throw new CniError(message, { code, details });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

export class Delegate {
  readonly #type: string;
  readonly #path: string;
  readonly #environment: Environment;
  #versions: readonly Version[] | undefined;

  /** @throws CniError with `code` if there is no such plugin */
  constructor(type: string, environment: Environment, code: number = CODE.invalidConfig) {
    this.#type = type;
    this.#path = findPlugin(type, "to which pods are delegated", environment, code);
    this.#environment = environment;
  }

  /**
   * The version to speak with the delegate: the configuration's or, as an older delegate may not know that one, the newest
   * from 1.0.0 on that it knows: results did not lose a field since. Only for newer ones is it worth asking.
   * @throws CniError 1
   */
  versionFor(wanted: Version): Version {
    if (!atLeast(wanted, "1.0.0") || wanted === "1.0.0") return wanted;
    const common = this.#supported().filter((version) => atLeast(version, "1.0.0") && atLeast(wanted, version));
    const newest = common.sort((a, b) => (atLeast(a, b) ? -1 : 1))[0];
    if (newest !== undefined) return newest;
    const message = `the plugin ${this.#type} speaks no CNI version that goes with ${wanted}`;
    const details = `it speaks ${this.#supported().join(", ")}`;
    throw new CniError(message, { code: CODE.incompatibleVersion, details });
  }

  supports(version: Version): boolean {
    return this.#supported().includes(version);
  }

  /** @returns the result. @throws CniError: the delegate's own, or 100 */
  add(conf: JsonObject): JsonObject {
    const stdout = this.#run("ADD", conf);
    const result = v.safeParse(v.pipe(v.string(), v.parseJson(), Result), stdout);
    if (result.success) return result.output;
    const message = `the plugin ${this.#type} gave no result that can be read`;
    throw new CniError(message, { code: CODE.delegateFailed, details: shorten(stdout) });
  }

  /**
   * Any verb that has no result.
   * @param overrides of the environment, where the runtime did not name the container
   * @throws CniError: the delegate's own, or 100
   */
  call(verb: Exclude<Verb, "ADD" | "VERSION">, conf: JsonObject, overrides: Environment = {}): void {
    this.#run(verb, conf, overrides);
  }

  #supported(): readonly Version[] {
    if (this.#versions === undefined) {
      const stdout = this.#run("VERSION", { cniVersion: "1.0.0" });
      const answer = v.safeParse(v.pipe(v.string(), v.parseJson(), VersionAnswer), stdout);
      this.#versions = answer.success ? answer.output.supportedVersions.filter(isVersion) : [];
    }
    return this.#versions;
  }

  #run(verb: Verb, conf: JsonObject, overrides: Environment = {}): string {
    const { exitCode, signalCode, stdout } = this.#spawn(conf, {
      ...this.#environment,
      ...overrides,
      CNI_COMMAND: verb,
    });
    const text = stdout.toString();
    if (exitCode === 0) return text;
    const error = parseErrorAnswer(text);
    if (error !== undefined) throw error;
    const ending = signalCode ?? `exit code ${exitCode}`;
    const message = `the plugin ${this.#type} (${this.#path}) failed at ${verb} with ${ending} and no error as CNI has it`;
    throw new CniError(message, { code: CODE.delegateFailed, details: shorten(text) });
  }

  /** @throws CniError 100 for what is no program of this machine */
  #spawn(conf: JsonObject, env: Environment) {
    try {
      const stdin = Buffer.from(JSON.stringify(conf));
      return Bun.spawnSync([this.#path], { env, stdin, stdout: "pipe", stderr: "inherit" });
    } catch (cause) {
      const message = `the plugin ${this.#type} (${this.#path}) can't be started`;
      const details = "is it whole, and made for this machine? Install it anew";
      throw new CniError(message, { code: CODE.delegateFailed, details, cause });
    }
  }
}

function shorten(text: string): string {
  return text.length <= 500 ? text : `${text.slice(0, 500)}…`;
}
