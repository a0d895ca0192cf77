// Runs in a network namespace: `bun tests/bench/rules-idle.ts nft|legacy|nftables SECONDS PERIODS`. Prints what the resync
// of rules that nobody changes costs, and what the commands cost that flanneld forks for the same, as one line of JSON.
// Both run without the pauses between their periods, as one period of ours is too short to be measured.

import { RulesKeeper } from "../../src/agent/rules-keeper.ts";
import { sleep } from "../../src/base/backoff.ts";
import { EventLog } from "../../src/status/event-log.ts";
import { FLANNEL_IPTABLES } from "../rules/flannel.ts";
import { NETWORKS, networkOf, SUBNETS } from "../rules/samples.ts";
import { eventually } from "../support/wait.ts";

/** flanneld's default, and ours */
const RESYNC_SECONDS = 5;
/** what stands for it here: the timer, the event loop and the look at the rules are all in it */
const SHORT_SECONDS = 0.005;
const HOUR = 3_600;

const [means = "nft", seconds = "20", periods = "10"] = process.argv.slice(2);

async function run(command: readonly string[]): Promise<number> {
  const child = Bun.spawn([...command], { stdin: "ignore", stdout: "ignore", stderr: "inherit" });
  if ((await child.exited) !== 0) throw new Error(`${command.join(" ")}: exit code ${child.exitCode}`);
  // Microseconds.
  return Number(child.resourceUsage()?.cpuTime.total ?? 0n);
}

/** Ours: the keeper with IPv4 rules in place, asking and resyncing as the agent does. */
async function idle() {
  // The kind of iptables that a host uses is the one with rules.
  if (means !== "nftables") await run([`iptables-${means}`, "-A", "INPUT", "-j", "ACCEPT"]);
  const flags = { ipMasq: true, ipMasqRandomFully: true, forwardRules: true, rulesResyncSeconds: SHORT_SECONDS };
  const keeper = new RulesKeeper({ flags, events: new EventLog(), onChange() {} });
  keeper.want(networkOf({ 4: NETWORKS[4] }, means === "nftables"), { subnets: { 4: SUBNETS[4] } });
  // The first resyncs are of the start; after a write there may be one more reading.
  await eventually(() => keeper.facts().looks > 500 && keeper.problems().length === 0, {
    within: 60_000,
    what: "the rules are in place",
  });
  const before = { cpu: process.cpuUsage(), ...keeper.facts() };
  await sleep(Number(seconds) * 1000);
  const cpu = process.cpuUsage(before.cpu);
  const { forks, looks, backend } = keeper.facts();
  const resyncs = looks - before.looks;
  const perHour = HOUR / RESYNC_SECONDS / resyncs;
  await keeper.stop();
  return {
    backend,
    resyncs,
    cpuSecondsPerHour: ((cpu.user + cpu.system) / 1e6) * perHour,
    processesPerHour: (forks - before.forks) * perHour,
  };
}

/** Flanneld's: each period, for each of its ten rules, a listing of the rule's chain and a check (go-iptables). */
async function flannelLoop() {
  const iptables = `iptables-${means === "legacy" ? "legacy" : "nft"}`;
  const { nat, filter } = FLANNEL_IPTABLES[4];
  const rules = [...nat.map((line) => ["nat", line] as const), ...filter.map((line) => ["filter", line] as const)];
  let cpu = 0;
  let processes = 0;
  for (let period = 0; period < Number(periods); period++) {
    for (const [table, line] of rules) {
      const [, chain = "", ...spec] = (line.match(/"[^"]*"|\S+/g) ?? []).map((word) => word.replaceAll('"', ""));
      const own = table === "nat" ? "FLANNEL-POSTRTG" : "FLANNEL-FWD";
      cpu += await run([iptables, "-t", table, "-S", own, "1", "--wait"]);
      cpu += await run([iptables, "-t", table, "-C", chain, ...spec, "--wait"]);
      processes += 2;
    }
  }
  const perHour = HOUR / RESYNC_SECONDS / Number(periods);
  return { cpuSecondsPerHour: (cpu / 1e6) * perHour, processesPerHour: processes * perHour };
}

const tartan = await idle();
if (means === "nftables") {
  // Flanneld does not resync in that mode; its commands of the iptables mode are run on its rules there.
  const { nat, filter } = FLANNEL_IPTABLES[4];
  const input = ["*nat", ":FLANNEL-POSTRTG -", ...nat, "COMMIT", "*filter", ":FLANNEL-FWD -", ...filter, "COMMIT\n"];
  const child = Bun.spawn(["iptables-nft-restore", "--noflush"], { stdin: Buffer.from(input.join("\n")) });
  if ((await child.exited) !== 0) throw new Error("flannel's rules can't be made");
}
process.stdout.write(`${JSON.stringify({ tartan, flannel: await flannelLoop() })}\n`);
process.exit(0);
