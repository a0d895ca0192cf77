import { join } from "node:path";
import * as v from "valibot";
import { MEANS } from "../rules/in-namespace.ts";
import { Netns } from "../support/netns.ts";
import { round, say } from "./measure.ts";

const SECONDS = 10;
const PERIODS = 10;

const Cost = v.object({ cpuSecondsPerHour: v.number(), processesPerHour: v.number() });
const Figures = v.object({ tartan: v.object({ ...Cost.entries, resyncs: v.number() }), flannel: Cost });

/**
 * What it costs to resync IPv4 rules that nobody changes every 5 s, by each means, beside the commands that flanneld forks each period:
 * CPU seconds an hour, the children's among them, and processes started an hour.
 */
export async function benchRules(folder: string): Promise<object> {
  const all: Record<string, object> = {};
  for (const means of MEANS) {
    say(`the resync of rules that nobody changes, ${means}, for ${SECONDS} s`);
    using ns = new Netns();
    // Another lock than the machine's.
    const environment = ["env", `XTABLES_LOCKFILE=${join(folder, "xtables.lock")}`];
    const script = join(import.meta.dir, "rules-idle.ts");
    const command = [...environment, process.execPath, script, means, `${SECONDS}`, `${PERIODS}`];
    const { tartan, flannel } = v.parse(Figures, JSON.parse(await ns.exec(command)));
    all[means] = {
      tartan: { ...tartan, cpuSecondsPerHour: round(tartan.cpuSecondsPerHour) },
      flannel: { ...flannel, cpuSecondsPerHour: round(flannel.cpuSecondsPerHour) },
      percentOfFlannels: round((tartan.cpuSecondsPerHour / flannel.cpuSecondsPerHour) * 100),
    };
  }
  return all;
}
