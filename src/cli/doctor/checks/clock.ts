import { BUILT_AT } from "../../../base/version.ts";
import { type Check, error, type Finding, ok, skipped, warning } from "../check.ts";
import type { ServerFacts } from "../sources.ts";

/** This machine's clock, by which certificates, tokens and leases are judged. */

/** milliseconds */
const SKEW_WARNING = 5_000;
const SKEW_ERROR = 60_000;
const DAY = 24 * 60 * 60 * 1000;

const SET = "timedatectl set-ntp true, or set up chrony; then look at: timedatectl";

/** @param builtAt when this executable was made, milliseconds since 1970; undefined: not known. Pure. */
export function judgeDate(now: number, builtAt: number | undefined): Finding | undefined {
  if (builtAt === undefined || now >= builtAt - DAY) return undefined;
  const [here, then] = [now, builtAt].map((time) => new Date(time).toISOString().slice(0, 10));
  return error(`the clock says ${here}, but this executable is of ${then}: certificates are not valid yet`, SET);
}

/** The difference to the servers' clocks, as far as it is certain. Pure. */
export function judgeSkew(servers: readonly Pick<ServerFacts, "server" | "clock">[]): Finding[] {
  return servers.flatMap(({ server, clock }) => {
    if (clock === undefined) return [];
    const certain = Math.max(0, Math.abs(clock.aheadMs) - clock.uncertainMs);
    const seconds = (Math.abs(clock.aheadMs) / 1000).toFixed(certain < 1000 ? 1 : 0);
    const text = `the clock is ${seconds} s ${clock.aheadMs < 0 ? "behind" : "ahead of"} that of ${server}`;
    if (certain >= SKEW_ERROR) return [error(`${text}: certificates and tokens may be refused`, SET)];
    if (certain >= SKEW_WARNING) return [warning(text, SET)];
    return [ok(`within ${((Math.abs(clock.aheadMs) + clock.uncertainMs) / 1000).toFixed(1)} s of that of ${server}`)];
  });
}

export const CLOCK_CHECKS: readonly Check[] = [
  {
    group: "Lease source",
    name: "clock",
    find: async (context) => {
      const date = judgeDate(Date.now(), BUILT_AT);
      if (date !== undefined) return [date];
      const skews = judgeSkew((await context.sources()).servers);
      return skews.length > 0 ? skews : [skipped("no server of a lease source tells the time")];
    },
  },
];
