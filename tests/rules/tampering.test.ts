import { afterAll, beforeAll, expect, test } from "bun:test";
import { FAMILIES, type Family } from "../../src/net/family.ts";
import type { Deviation } from "../../src/rules/compare.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { eventually } from "../support/wait.ts";
import { FLANNEL_IPTABLES, FLANNEL_NFTABLES } from "./flannel.ts";
import { FilterHost, MEANS, type Means, TestKeeper } from "./in-namespace.ts";

/** the bound where there is a counter, and, where there is none, the resync period: 1 s here, too */
const MENDED_MS = 1_000;
/** A look at the rules is a fork or two, here and in what is tested. */
const LOOK_MS = 1_000;
/** The machine may be busy with something else: so often it may be mended later than that. */
const LATE = 4;

interface Tampering {
  readonly what: string;
  /** a shell line for one family, that changes the rules in one step: `$ipt` is the command */
  readonly iptables?: string;
  /** likewise: `$t` is the table */
  readonly nft?: string;
  readonly found: readonly Deviation[];
  /** where it differs in nftables mode */
  readonly foundByNft?: readonly Deviation[];
}

const SPEC = '-m comment --comment "flanneld masq"';

const tamperings: readonly Tampering[] = [
  {
    what: "a rule deleted",
    iptables: "$ipt -t nat -D FLANNEL-POSTRTG 3",
    nft: "nft delete rule $t postrtg handle $(nft -a list table $t | grep -m1 ' daddr.*return' | sed 's/.*handle //')",
    found: ["rule missing"],
  },
  {
    what: "two rules swapped",
    iptables: `rule="$($ipt -t nat -S FLANNEL-POSTRTG 3)"; printf '*nat\\n-D FLANNEL-POSTRTG 3\\n-I FLANNEL-POSTRTG 2 %s\\nCOMMIT\\n' "\${rule#-A FLANNEL-POSTRTG }" | $ipt-restore --noflush`,
    nft: "r=$(nft -a list table $t | grep -m1 ' daddr.*return'); nft delete rule $t postrtg handle $(echo $r | sed 's/.*handle //') \\; add rule $t postrtg $(echo $r | sed 's/ # handle.*//')",
    found: ["rules reordered"],
  },
  {
    what: "a duplicate added",
    iptables: `$ipt -A FLANNEL-FWD $($ipt -S FLANNEL-FWD 1 | grep -o -- '-s [^ ]*') -m comment --comment "flanneld forward" -j ACCEPT`,
    nft: "nft add rule $t forward $(nft list table $t | grep -m1 saddr.*accept)",
    found: ["rule duplicated"],
  },
  {
    what: "a rule inserted before ours",
    iptables: "$ipt -t nat -I FLANNEL-POSTRTG -j ACCEPT",
    nft: "nft insert rule $t postrtg counter accept",
    found: ["rule foreign"],
  },
  {
    what: "a rule altered",
    iptables: `$ipt -t nat -R FLANNEL-POSTRTG 5 ${SPEC} -j MASQUERADE`,
    nft: "nft replace rule $t postrtg handle $(nft -a list table $t | grep -m1 masquerade | sed 's/.*handle //') masquerade",
    found: ["rule altered"],
  },
  {
    what: "a chain flushed",
    iptables: "$ipt -F FLANNEL-FWD",
    nft: "nft flush chain $t forward",
    found: ["rule missing"],
  },
  {
    what: "a chain deleted, with its jump",
    iptables: `printf '*nat\\n-D POSTROUTING ${SPEC} -j FLANNEL-POSTRTG\\n-F FLANNEL-POSTRTG\\n-X FLANNEL-POSTRTG\\nCOMMIT\\n' | $ipt-restore --noflush`,
    nft: "nft flush chain $t postrtg \\; delete chain $t postrtg",
    found: ["chain missing"],
  },
  {
    what: "a jump deleted",
    iptables: `$ipt -t nat -D POSTROUTING ${SPEC} -j FLANNEL-POSTRTG`,
    found: ["jump missing"],
  },
  {
    what: "a jump doubled",
    iptables: `$ipt -t nat -I POSTROUTING ${SPEC} -j FLANNEL-POSTRTG`,
    found: ["jump doubled"],
  },
  { what: "a jump with a condition", iptables: "$ipt -A FORWARD -i eth0 -j FLANNEL-FWD", found: ["jump altered"] },
  {
    what: "the table flushed",
    iptables: "printf '*nat\\nCOMMIT\\n' | $ipt-restore",
    nft: "nft flush table $t",
    found: ["chain missing", "jump missing"],
    foundByNft: ["rule missing"],
  },
  {
    what: "a chain hooked elsewhere",
    nft: "nft flush chain $t forward \\; delete chain $t forward \\; add chain $t forward { type filter hook forward priority 5 \\; policy drop \\; }",
    found: ["chain altered"],
  },
  {
    what: "a chain of somebody else in our table",
    nft: "nft add chain $t mine { type filter hook input priority 0 \\; }",
    found: ["chain foreign"],
  },
  {
    what: "a set of somebody else in our table, and a rule that uses it",
    nft: "nft add set $t mine { type inet_service \\; } \\; add element $t mine { 80 } \\; insert rule $t forward tcp dport @mine drop",
    found: ["object foreign", "rule foreign"],
  },
  {
    what: "a map to a chain and a counter of somebody else in our table",
    nft: "nft add chain $t web \\; add counter $t seen \\; add map $t ports { type inet_service : verdict \\; } \\; add element $t ports { 80 : jump web } \\; add rule $t forward counter name seen tcp dport vmap @ports",
    found: ["object foreign", "chain foreign"],
  },
  { what: "the table turned off", nft: "nft add table $t { flags dormant \\; }", found: ["chain missing"] },
  {
    what: "a firewall that loads its own rules in place of all",
    iptables:
      "printf '*nat\\n-A POSTROUTING -o eth0 -j MASQUERADE\\nCOMMIT\\n*filter\\n:FORWARD DROP [0:0]\\n-A FORWARD -i eth0 -j ACCEPT\\nCOMMIT\\n' | $ipt-restore",
    nft: "nft flush ruleset; nft add table inet firewall",
    found: ["chain missing"],
  },
];

describeInNamespaces("whatever somebody does to the rules is found and mended", () => {
  const hosts = new Map<Means, { on: FilterHost; keeper: TestKeeper }>();

  beforeAll(async () => {
    for (const means of MEANS) {
      const on = new FilterHost();
      const keeper = new TestKeeper(on, means, { resyncSeconds: 1 });
      hosts.set(means, { on, keeper });
      await keeper.start();
      await keeper.quiet();
    }
  });

  afterAll(async () => {
    for (const { on, keeper } of hosts.values()) {
      await keeper.stop();
      on[Symbol.dispose]();
    }
  });

  const commandFor = (means: Means, family: Family, { iptables, nft }: Tampering): string | undefined => {
    if (means === "nftables") return nft && `t="${FLANNEL_NFTABLES[family].table}"; ${nft}`;
    return iptables && `ipt=${family === 4 ? "iptables" : "ip6tables"}-${means}; ${iptables}`;
  };

  /** Whether the rules of a family are all there, in order, and nothing else in our chains. */
  const isRight = async (on: FilterHost, means: Means, family: Family): Promise<boolean> => {
    if (means === "nftables") {
      const { table, postrtg, forward } = FLANNEL_NFTABLES[family];
      const text = (await on.table(table))
        .replace(/^\s*comment ".*"$/gm, "")
        .replace(/\s+/g, " ")
        .trim();
      const chain = (name: string, lines: readonly string[]) => `chain ${name} { ${lines.join(" ")} }`;
      const chains = [chain("postrtg", postrtg), chain("forward", forward)];
      // A chain that was made anew comes behind the other.
      return [chains, chains.toReversed()].some((all) => text === `table ${table} { ${all.join(" ")} }`);
    }
    const { nat, filter } = FLANNEL_IPTABLES[family];
    for (const [table, lines] of [
      ["nat", nat],
      ["filter", filter],
    ] as const) {
      const found = (await on.saved(means, family, table)).filter((line) => line.includes("FLANNEL-"));
      if (JSON.stringify(found) !== JSON.stringify(lines)) return false;
    }
    return true;
  };

  test.each(tamperings.map((tampering) => [tampering.what, tampering] as const))("%s", async (_, tampering) => {
    await Promise.all(
      [...hosts].map(async ([means, { on, keeper }]) => {
        const commands = FAMILIES.map((family) => commandFor(means, family, tampering));
        if (commands.includes(undefined)) return;
        const found = (means === "nftables" ? tampering.foundByNft : undefined) ?? tampering.found;
        const times: number[] = [];
        while (times.length <= LATE && !times.some((time) => time < MENDED_MS + LOOK_MS)) {
          const { repaired } = keeper.facts();
          // Of each family one at least. What was mended is counted a moment later.
          const isCounted = () => {
            const { repaired: now } = keeper.facts();
            return found.every((kind) => (now[kind] ?? 0) - (repaired[kind] ?? 0) >= 2);
          };
          await on.sh(commands.join("\n"));
          const changedAt = performance.now();
          await eventually(async () => isCounted() && (await isRight(on, means, 4)) && (await isRight(on, means, 6)), {
            within: 20_000,
            what: `${means}: the rules of both families are right again, and ${found.join(" and ")} counted twice`,
          });
          times.push(performance.now() - changedAt);
          expect(keeper.keeper.problems()).toEqual([]);
        }
        expect(Math.min(...times)).toBeLessThan(MENDED_MS + LOOK_MS);
      }),
    );
  });

  test.each(["nft", "legacy"] as const)("%s: a jump doubled behind a rule of others stays before it", async (means) => {
    const { on, keeper } = hosts.get(means) ?? expect.unreachable();
    const ipt = `iptables-${means}`;
    const jump = '-m comment --comment "flanneld forward" -j FLANNEL-FWD';
    const before = keeper.facts().repaired["jump doubled"] ?? 0;
    await on.sh(`${ipt} -I FORWARD -p tcp -j ACCEPT; ${ipt} -A FORWARD -p icmp -j REJECT; ${ipt} -A FORWARD ${jump}`);
    await eventually(() => (keeper.facts().repaired["jump doubled"] ?? 0) > before, {
      within: 20_000,
      what: "the second jump is counted",
    });
    expect(await isRight(on, means, 4)).toBe(true);
    const targets = (await on.saved(means, 4, "filter"))
      .filter((line) => line.startsWith("-A FORWARD"))
      .map((line) => / -j (\S+)/.exec(line)?.[1] ?? "");
    expect(targets.filter((target) => ["ACCEPT", "FLANNEL-FWD", "REJECT"].includes(target)).slice(-2)).toEqual([
      "FLANNEL-FWD",
      "REJECT",
    ]);
    await on.sh(`${ipt} -D FORWARD -p tcp -j ACCEPT; ${ipt} -D FORWARD -p icmp -j REJECT`);
  });

  test.each(["nft", "legacy"] as const)("%s: a jump that is altered comes back to its place", async (means) => {
    const { on, keeper } = hosts.get(means) ?? expect.unreachable();
    const ipt = `iptables-${means}`;
    const before = keeper.facts().repaired["jump altered"] ?? 0;
    await on.sh(`${ipt} -I FORWARD -p tcp -j ACCEPT; ${ipt} -A FORWARD -p icmp -j REJECT`);
    const forward = async () =>
      (await on.saved(means, 4, "filter")).filter((line) => line.startsWith("-A FORWARD")).join("\n");
    const right = await forward();
    const number = right.split("\n").findIndex((line) => line.includes("FLANNEL-FWD")) + 1;
    await on.sh(`${ipt} -R FORWARD ${number} -i eth7 -m comment --comment "flanneld forward" -j FLANNEL-FWD`);
    await eventually(() => (keeper.facts().repaired["jump altered"] ?? 0) > before, {
      within: 20_000,
      what: "the altered jump is counted",
    });
    expect(await forward()).toBe(right);
    await on.sh(`${ipt} -D FORWARD -p tcp -j ACCEPT; ${ipt} -D FORWARD -p icmp -j REJECT`);
  });

  test("a policy that drops is somebody's will and stays", async () => {
    // The firewall above has set it.
    for (const means of ["nft", "legacy"] as const) {
      const on = hosts.get(means)?.on;
      expect(await on?.sh(`iptables-${means} -S FORWARD | head -1`)).toBe("-P FORWARD DROP\n");
    }
  });

  test("others may write as often as they like: there is one check a second", async () => {
    const host = hosts.get("nft");
    if (host === undefined) throw new Error("no host");
    const { checks } = host.keeper.facts();
    const started = performance.now();
    await host.on.sh("for i in $(seq 60); do iptables-nft -t mangle -N C$i; sleep 0.05; done");
    const seconds = (performance.now() - started) / 1000;
    const made = host.keeper.facts().checks - checks;
    expect(made).toBeGreaterThanOrEqual(2);
    expect(made).toBeLessThanOrEqual(Math.ceil(seconds) + 1);
  });
});
