import { writeSync } from "node:fs";
import { add } from "./add.ts";
import { check } from "./check.ts";
import { type JsonObject, parseConf, versionForErrors } from "./conf.ts";
import { del } from "./del.ts";
import { type Environment, readVerb, type Verb } from "./environment.ts";
import { errorAnswer } from "./errors.ts";
import { gc } from "./gc.ts";
import { status } from "./status.ts";
import { VERSIONS } from "./versions.ts";

/**
 * The CNI plugin `flannel`: completes the configuration of another plugin (bridge, unless told otherwise) by what the
 * agent wrote to subnet.env, and lets that one do the work. It is in the way of every pod, so it loads little.
 */

/**
 * Does one call of a runtime: configuration on stdin, result or error as JSON on stdout.
 * @returns the exit code
 */
export async function runCni(environment: Environment): Promise<number> {
  let stdin = "";
  try {
    const verb = readVerb(environment);
    stdin = await Bun.stdin.text();
    const answer = await perform(verb, stdin, environment);
    if (answer !== undefined) print(JSON.stringify(answer));
    return 0;
  } catch (error) {
    print(errorAnswer(error, versionForErrors(stdin)));
    return 1;
  }
}

async function perform(verb: Verb, stdin: string, environment: Environment): Promise<JsonObject | undefined> {
  if (verb === "VERSION") return { cniVersion: versionForErrors(stdin), supportedVersions: VERSIONS };
  const request = { conf: parseConf(stdin, verb), environment };
  switch (verb) {
    case "ADD":
      return add(request);
    case "DEL":
      del(request);
      return undefined;
    case "CHECK":
      await check(request);
      return undefined;
    case "STATUS":
      status(request);
      return undefined;
    case "GC":
      gc(request);
      return undefined;
  }
}

function print(json: string): void {
  // At once and as a whole: the process ends next.
  writeSync(1, `${json}\n`);
}
