import { posix } from "node:path";
import { describeError } from "../../base/errors.ts";
import type { EtcdFlags } from "../../config/flags.ts";
import { EtcdClient } from "../../lease/etcd-client.ts";
import { EtcdRefusedError } from "../../lease/etcd-errors.ts";
import { encodeText } from "../../lease/etcd-messages.ts";
import { request } from "../../lease/etcd-transport.ts";
import { clockOf } from "./clock-of.ts";
import type { ServerFacts, SourceFacts } from "./sources.ts";

/** milliseconds */
const ANSWER_MS = 5_000;
/** A key's revision that is never reached: whoever asks for it finds the key changed. */
const NEVER_REACHED = 2 ** 53 - 1;

/** What etcd lets the agent do; undefined: it does. */
export interface EtcdFacts {
  readonly readProblem: string | undefined;
  readonly writeProblem: string | undefined;
}

export async function readEtcd(flags: EtcdFlags, signal: AbortSignal): Promise<SourceFacts> {
  const servers = await Promise.all(flags.endpoints.map((endpoint) => askEndpoint(endpoint, flags, signal)));
  if (servers.every(({ problem }) => problem !== undefined)) return { servers };
  const client = new EtcdClient({ ...flags, requestMs: ANSWER_MS });
  const folder = posix.join(flags.prefix, "subnets");
  const readProblem = await problemOf(() => client.list(`${folder}/`, signal));
  const writeProblem = await problemOf(() => tryWrite(client, `${folder}/tartan-doctor`, signal));
  return { servers, etcd: { readProblem, writeProblem } };
}

async function askEndpoint(endpoint: string, { tls }: EtcdFlags, signal: AbortSignal): Promise<ServerFacts> {
  const limited = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
  const call = { endpoint, operation: "maintenance/status", body: "{}", token: undefined, tls, signal: limited };
  const [sentAt, started] = [Date.now(), performance.now()];
  try {
    const response = await request(call);
    const latencyMs = Math.round(performance.now() - started);
    await response.arrayBuffer();
    return { server: endpoint, latencyMs, ...clockOf(response.headers.get("date"), sentAt, sentAt + latencyMs) };
  } catch (error) {
    // It is there, and says no to someone without a name.
    if (error instanceof EtcdRefusedError)
      return { server: endpoint, latencyMs: Math.round(performance.now() - started) };
    const late = limited.aborted && !signal.aborted;
    const why = late
      ? `etcd ${endpoint}: no answer within ${ANSWER_MS / 1000} s; see that it is healthy`
      : describeError(error);
    return { server: endpoint, problem: why };
  }
}

/** etcd looks at the rights of a transaction as a whole, and this one's condition is never true: nothing is written. */
async function tryWrite(client: EtcdClient, key: string, signal: AbortSignal): Promise<void> {
  const encoded = encodeText(key);
  const put = { key: encoded, value: "", leaseId: "0" };
  await client.transact({ unchanged: new Map([[encoded, NEVER_REACHED]]), put, deletes: [] }, signal);
}

async function problemOf(action: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await action();
    return undefined;
  } catch (error) {
    return describeError(error);
  }
}
