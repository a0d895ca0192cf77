import * as v from "valibot";
import { parsed } from "../../config/schema.ts";
import { parseAddress } from "../../net/address.ts";
import type { PerFamily } from "../../net/family.ts";

/** The HTTP interface of one agent, over its Unix socket. */

const REQUEST_MS = 5_000;

const ReadinessSchema = v.object({ reasons: v.array(v.object({ message: v.string() })) });

const FamilySchema = v.object({
  subnet: v.string(),
  publicIP: parsed(parseAddress, "an IP address"),
  vtepMAC: v.string(),
});
const StateSchema = v.object({
  lease: v.nullable(v.object({ ipv4: v.optional(FamilySchema), ipv6: v.optional(FamilySchema) })),
  leaseCounts: v.object({ used: v.number() }),
  reconcile: v.object({ settled: v.boolean() }),
  rules: v.object({ backend: v.nullable(v.string()) }),
});

/** An agent's own lease in one family, as /debug/state shows it. */
export type LeaseView = v.InferOutput<typeof FamilySchema>;

export interface AgentState {
  /** its own lease */
  readonly leases: PerFamily<LeaseView>;
  /** leases of the whole network that the agent knows */
  readonly leaseCount: number;
  /** the kernel is as the leases ask for */
  readonly settled: boolean;
  /** what its rules are written by; undefined before there were any */
  readonly rules: string | undefined;
}

/**
 * Asks an agent. Whatever the body's encoding is, it is handed on as it came: it has one only if the headers ask for it.
 */
export function askAgent(socket: string, path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  if (!headers.has("accept-encoding")) headers.set("accept-encoding", "identity");
  return fetch(`http://agent${path}`, { ...init, headers, unix: socket, decompress: false });
}

async function askJson(socket: string, path: string, signal: AbortSignal): Promise<{ ok: boolean; body: unknown }> {
  const response = await askAgent(socket, path, { signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_MS)]) });
  return { ok: response.ok, body: await response.json() };
}

/**
 * Why an agent is not ready.
 * @returns nothing when it is ready, else its reasons from /readyz
 * @throws while it does not answer
 */
export async function unreadyReasons(socket: string, signal: AbortSignal): Promise<string[]> {
  const { ok, body } = await askJson(socket, "/readyz", signal);
  if (ok) return [];
  const reasons = v.parse(ReadinessSchema, body).reasons.map(({ message }) => message);
  return reasons.length > 0 ? reasons : ["/readyz gives no reason"];
}

/** @throws while it does not answer */
export async function agentState(socket: string, signal: AbortSignal): Promise<AgentState> {
  const { body } = await askJson(socket, "/debug/state", signal);
  const { lease, leaseCounts, reconcile, rules } = v.parse(StateSchema, body);
  const { ipv4, ipv6 } = lease ?? {};
  return {
    leases: { ...(ipv4 && { 4: ipv4 }), ...(ipv6 && { 6: ipv6 }) },
    leaseCount: leaseCounts.used,
    settled: reconcile.settled,
    rules: rules.backend ?? undefined,
  };
}
