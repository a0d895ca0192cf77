import type { Address } from "../../net/address.ts";
import { inside, run, tool } from "./command.ts";

/** How many run at a time; each lasts half a second and does next to nothing. */
export const PINGS_AT_A_TIME = 24;

const COUNT = 3;
const INTERVAL_S = 0.2;
const WAIT_S = 1;

export interface PingSummary {
  readonly sent: number;
  readonly received: number;
  /** milliseconds, the mean; null if nothing was received */
  readonly rttMs: number | null;
}

const PACKETS = /^(\d+) packets transmitted, (\d+) received/m;
const ROUND_TRIP = /^rtt min\/avg\/max\/mdev = [\d.]+\/([\d.]+)\//m;

/** Reads the summary that iputils' ping ends with. @returns undefined if there is none */
export function parsePingSummary(output: string): PingSummary | undefined {
  const packets = PACKETS.exec(output);
  if (packets === null) return undefined;
  const rtt = ROUND_TRIP.exec(output)?.[1];
  return { sent: Number(packets[1]), received: Number(packets[2]), rttMs: rtt === undefined ? null : Number(rtt) };
}

/**
 * Pings an address a few times from a network namespace. No answer is a result, not an error.
 * @throws Error with ping's own words when it could not even send
 */
export async function ping(namespace: string, to: Address, signal: AbortSignal): Promise<PingSummary> {
  const options = ["-n", "-q", "-c", `${COUNT}`, "-i", `${INTERVAL_S}`, "-W", `${WAIT_S}`];
  const { code, stdout, stderr } = await run(inside(namespace, [tool("ping"), ...options, to]), "", signal);
  const summary = parsePingSummary(stdout);
  if (summary !== undefined) return summary;
  throw new Error(`ping ${to} in ${namespace}: ${stderr.trim() || `exit code ${code}`}`);
}
