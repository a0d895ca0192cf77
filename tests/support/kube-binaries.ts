import { describe } from "bun:test";
import {
  adviceFor,
  findServer,
  type KubeCommand,
  missingServers,
  placesFrom,
  REST_OF_KUBE,
  unpackServers,
} from "../../src/cli/lab/servers/binaries.ts";
import { CHECKOUT } from "./etcd.ts";

const PLACES = placesFrom({ ...process.env, ...CHECKOUT });

/** Why they could not be unpacked, if so. */
const unsound = await unpackServers(PLACES, console.error).then(
  () => undefined,
  (error: unknown) => (error instanceof Error ? error.message : String(error)),
);

/** @throws Error that says what is missing */
export function kubeBinary(name: KubeCommand): string {
  const path = findServer(name, PLACES);
  if (path === undefined) throw new Error(`needs ${kubernetesMissing()}`);
  return path;
}

/** What is missing on this machine, and how to get it. */
export function kubernetesMissing(): string | undefined {
  if (unsound !== undefined) return unsound;
  if (Bun.which("openssl") === null) return "the command openssl";
  const missing = missingServers("kube", PLACES);
  return missing.length === 0 ? undefined : adviceFor(missing, PLACES);
}

/** `describe` for tests that run a real API server. Where there is none, it skips them and says in one line how to get it. */
export function describeWithKubernetes(name: string, tests: () => void): void {
  const missing = kubernetesMissing();
  if (missing !== undefined) console.error(`skipped: ${name}: needs ${missing}`);
  describe.skipIf(missing !== undefined)(name, tests);
}

/** Finds what makes a whole cluster of it, after unpacking that. @returns what is missing, and how to get it */
export async function wholeClusterMissing(): Promise<string | undefined> {
  const missing = kubernetesMissing();
  if (missing !== undefined) return missing;
  try {
    await unpackServers(PLACES, console.error, undefined, REST_OF_KUBE);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  const rest = REST_OF_KUBE.filter((name) => findServer(name, PLACES) === undefined);
  return rest.length === 0 ? undefined : adviceFor(rest, PLACES);
}
