import { afterAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { PacketFilter } from "../../src/rules/packet-filter.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { eventually } from "../support/wait.ts";
import { FilterHost, MEANS, type Means, TestKeeper } from "./in-namespace.ts";

/** so many rules of others, as a kube-proxy has them for 3,333 services; the bound for a resync beside them, in ms */
const SERVICES = 3_333;
const RESYNC_MS = 50;
/** the agent ends by itself after that time, whatever hangs */
const STOP_MS = 800;

describeInNamespaces("what is in the way of the rules", () => {
  const on = new FilterHost();
  afterAll(() => on[Symbol.dispose]());

  /** Holds the lock that iptables takes, until it is killed. */
  async function holdLock({ ns, lock, folder }: FilterHost) {
    const isHeld = folder.at("held");
    const command = ["flock", "--no-fork", lock, "sh", "-c", `touch ${isHeld}; exec sleep 600`];
    const holder = ns.spawn(command, { stdout: "ignore", stderr: "ignore" });
    await eventually(() => existsSync(isHeld), { within: 20_000, what: "the lock is held" });
    return holder;
  }

  /** Waits until the keeper says what is wrong. */
  const problem = (keeper: TestKeeper, text: string) =>
    eventually(() => keeper.keeper.problems().find((found) => found.includes(text)), {
      within: 15_000,
      what: `the problem ${text}`,
    });

  test("no iptables: named, with the ways out; made once it is there", async () => {
    let installed = false;
    const keeper = new TestKeeper(on, "nft", { host: on.host((name) => installed && name.includes("-nft")) });
    keeper.want();
    const found = await problem(keeper, "no iptables program is on the PATH");
    for (const way of ["apt install iptables", "EnableNFTables", "--iptables-forward-rules off"])
      expect(found).toContain(way);
    expect(keeper.facts().inPlace).toEqual({ 4: false, 6: false });
    installed = true;
    await keeper.settled();
    await keeper.stop();
  });

  test("no ip6tables: IPv4 has its rules all the same", async () => {
    using bare = new FilterHost();
    const host = bare.host((name) => name.startsWith("iptables-nft"));
    const keeper = new TestKeeper(bare, "nft", { host });
    keeper.want();
    await problem(keeper, "ip6tables-nft is not on the PATH, so the IPv6 rules can't be made");
    expect(keeper.facts().inPlace).toEqual({ 4: true, 6: false });
    await keeper.stop();
  });

  test("no libnftables: named with its package; made once it is there", async () => {
    using bare = new FilterHost();
    const host = bare.host(() => true);
    let installed = false;
    const openNftables = () => {
      // As the loader says it.
      if (!installed)
        throw new Error("the library libnftables.so.1 can't be loaded; on Debian: apt install libnftables1");
      return host.openNftables();
    };
    const keeper = new TestKeeper(bare, "nftables", { host: { ...host, openNftables } });
    keeper.want();
    expect(await problem(keeper, "apt install libnftables1")).toContain("set EnableNFTables to false");
    installed = true;
    await keeper.settled();
    await keeper.stop();
  });

  test("no br_netfilter: the rules are made, and it is said what they lack; turned off, it is a warning", async () => {
    let bridged: "0\n" | "1\n" | undefined;
    const host = on.host(
      (name) => name.includes("-nft"),
      (path) => (path.includes("/bridge/") ? bridged : undefined),
    );
    const keeper = new TestKeeper(on, "nft", { host, resyncSeconds: 1 });
    keeper.want();
    const found = await problem(keeper, "bridge-nf-call-ip6tables is missing");
    expect(found).toContain("modprobe br_netfilter");
    expect(keeper.facts().inPlace).toEqual({ 4: true, 6: true });
    bridged = "0\n";
    await eventually(() => keeper.keeper.problems().length === 0, {
      within: 20_000,
      what: "it is seen that it is there",
    });
    await eventually(() => keeper.facts().warnings.length === 2, { within: 20_000, what: "it is warned of" });
    expect(keeper.facts().warnings[0]).toContain("sysctl -w net.bridge.bridge-nf-call-iptables=1");
    bridged = "1\n";
    await eventually(() => keeper.facts().warnings.length === 0, { within: 20_000, what: "the warning is gone" });
    await keeper.stop();
  });

  test("a lock that somebody holds: nothing half applied, and all of it once the lock is free", async () => {
    using bare = new FilterHost();
    const holder = await holdLock(bare);
    const keeper = new TestKeeper(bare, "legacy");
    keeper.want();
    const found = await problem(keeper, "holding the xtables lock");
    for (const named of [bare.lock, "fuser"]) expect(found).toContain(named);
    expect(keeper.facts()).toMatchObject({ writes: 0, inPlace: { 4: false, 6: false } });
    expect(await bare.saved("legacy", 4, "nat")).toEqual([]);
    holder.kill();
    await keeper.settled(20_000);
    expect(await bare.saved("legacy", 4, "nat")).toHaveLength(7);
    await keeper.stop();
  });

  test("a keeper that waits for a lock stops at once all the same", async () => {
    using bare = new FilterHost();
    const holder = await holdLock(bare);
    // The machine may be busy with something else: the best of several counts.
    await eventually(
      async () => {
        const keeper = new TestKeeper(bare, "legacy");
        keeper.want();
        await eventually(() => keeper.facts().forks > 2, { within: 20_000, what: "it waits for the lock" });
        const started = performance.now();
        await keeper.stop();
        return performance.now() - started < STOP_MS;
      },
      { within: 30_000, what: `it stops in less than ${STOP_MS} ms` },
    );
    holder.kill();
  });

  test("a program that lies about what it wrote is found out", async () => {
    using bare = new FilterHost();
    const host = bare.host((name) => name.includes("-nft"));
    const run: typeof host.run = async (command, options) =>
      command.some((word) => word.endsWith("restore"))
        ? { code: 0, stdout: "", stderr: "" }
        : host.run(command, options);
    const keeper = new TestKeeper(bare, "nft", { host: { ...host, run } });
    keeper.want();
    await problem(keeper, "the rules are not as they were written (chain missing, jump missing)");
    expect(keeper.facts().inPlace).toEqual({ 4: false, 6: false });
    await keeper.stop();
  });

  test("a table of which one part can't be written stays as it was", async () => {
    using bare = new FilterHost();
    const host = bare.host((name) => name.includes("-legacy"));
    const run: typeof host.run = (command, options) => {
      // The second table's rules are for a target that is not there.
      const input = options?.input?.replaceAll("-j ACCEPT", "-j NO-SUCH-TARGET");
      return host.run(command, { ...options, ...(input === undefined ? {} : { input }) });
    };
    const keeper = new TestKeeper(bare, "legacy", { host: { ...host, run } });
    keeper.want();
    await problem(keeper, "NO-SUCH-TARGET");
    expect(await bare.saved("legacy", 4, "nat")).toEqual([]);
    await keeper.stop();
  });
});

describeInNamespaces("rules of others that have to do with our chains", () => {
  const NOTHING = { networks: {}, subnets: {}, masquerade: false, randomFully: false, forward: false };

  test("a comment that speaks of one is nothing of ours", async () => {
    using on = new FilterHost();
    using filter = new PacketFilter(
      "iptables",
      on.host(() => true),
    );
    await on.sh("iptables-legacy -A FORWARD -m comment --comment 'see FLANNEL-FWD' -j ACCEPT");
    expect(filter.present()["iptables-legacy"]).toEqual([]);
    await on.sh("iptables-legacy -N FLANNEL-FWD");
    expect(filter.present()["iptables-legacy"]).toEqual([4]);
  });

  test.each(["nft", "legacy"])(
    "%s: one that goes to a chain of ours keeps it from removal, and is asked for",
    async (kind) => {
      using on = new FilterHost();
      using filter = new PacketFilter(
        "iptables",
        on.host(() => true),
      );
      const made =
        "'N FLANNEL-FWD' 'A FLANNEL-FWD -j ACCEPT' 'A FORWARD -j FLANNEL-FWD' 'N MINE' 'A MINE -j FLANNEL-FWD'";
      await on.sh(`for each in ${made}; do ip6tables-${kind} -$each; done`);
      const { leftovers } = await filter.keep(NOTHING, AbortSignal.timeout(10_000));
      expect(leftovers.map(({ message }) => message)).toEqual([
        expect.stringContaining(`remove that rule first: ip6tables-${kind}-save | grep FLANNEL-`),
      ]);
      // It is of no effect any more.
      expect((await on.sh(`ip6tables-${kind}-save -t filter | grep -- ^-A`)).trim()).toBe("-A MINE -j FLANNEL-FWD");
      await on.sh(`ip6tables-${kind} -F MINE`);
      expect((await filter.keep(NOTHING, AbortSignal.timeout(10_000))).leftovers).toEqual([]);
      expect(filter.present()[`iptables-${kind === "nft" ? "nft" : "legacy"}`]).toEqual([]);
    },
  );
});

describeInNamespaces("chains of others that drop", () => {
  const DROPPING = [
    { set: "iptables-nft -P FORWARD DROP", names: "chain FORWARD of the nftables table ip filter" },
    { set: "ip6tables-nft -P FORWARD DROP", names: "chain FORWARD of the nftables table ip6 filter" },
    { set: "iptables-legacy -P FORWARD DROP", names: "chain FORWARD of legacy iptables" },
    {
      set: "nft 'add table inet fw; add chain inet fw guard { type filter hook forward priority 0; policy drop; }'",
      names: "chain guard of the nftables table inet fw",
    },
  ];
  /** Where an accept of ours does act: our jump is in that chain. */
  const own: Readonly<Record<Means, string>> = { nft: "iptables-nft", legacy: "iptables-legacy", nftables: "none" };

  test.each([...MEANS])("%s: those that an accept of ours can't overrule are warned of by name", async (means) => {
    using on = new FilterHost();
    for (const { set } of DROPPING) await on.sh(set);
    const keeper = new TestKeeper(on, means);
    await keeper.start();
    const named = DROPPING.filter(({ set }) => !set.replace("ip6", "ip").startsWith(own[means]));
    const { warnings } = keeper.facts();
    expect(warnings.map((warning) => warning.split(" drops by its policy")[0]).sort()).toEqual(
      named.map(({ names }) => names).sort(),
    );
    await keeper.stop();
  });

  test.each([...MEANS])("%s: such a chain is noticed whichever packet filter it comes to, and goes", async (means) => {
    using on = new FilterHost();
    const keeper = new TestKeeper(on, means, { resyncSeconds: 1 });
    await keeper.start();
    expect(keeper.facts().warnings).toEqual([]);
    const other = means === "legacy" ? "iptables-nft" : "iptables-legacy";
    const name =
      means === "legacy" ? "chain FORWARD of the nftables table ip filter" : "chain FORWARD of legacy iptables";
    await on.sh(`${other} -P FORWARD DROP`);
    const named = () => keeper.facts().warnings.filter((warning) => warning.startsWith(name));
    await eventually(() => named().length === 1, { within: 20_000, what: `a warning of ${name}` });
    await on.sh(`${other} -P FORWARD ACCEPT`);
    await eventually(() => named().length === 0, { within: 20_000, what: `no warning of ${name} any more` });
    await keeper.stop();
  });
});

describeInNamespaces("beside 10,000 rules of others", () => {
  const services = Array.from({ length: SERVICES }, (_, n) => n);
  const chain = (n: number) => `KUBE-SVC-${n}`;
  const input = [
    "*nat",
    ":KUBE-SERVICES - [0:0]",
    ...services.map((n) => `:${chain(n)} - [0:0]`),
    ...services.flatMap((n) => [
      `-A KUBE-SERVICES -d 10.96.${n >> 8}.${n & 255}/32 -p tcp -m tcp --dport 80 -j ${chain(n)}`,
      `-A ${chain(n)} -m statistic --mode random --probability 0.5 -j RETURN`,
      `-A ${chain(n)} -p tcp -j DNAT --to-destination 10.244.1.9:8080`,
    ]),
    "COMMIT\n",
  ].join("\n");

  test.each([...MEANS])(`%s: a resync takes less than ${RESYNC_MS} ms`, async (means) => {
    using on = new FilterHost();
    const tables = means === "legacy" ? "legacy" : "nft";
    await on.sh(`iptables-${tables}-restore --noflush`, input);
    const keeper = new TestKeeper(on, means, { resyncSeconds: 1 });
    await keeper.start();
    const { checks, forks } = await keeper.quiet();
    // The machine may be busy with something else: the best of several counts.
    await eventually(
      async () => {
        const before = keeper.facts();
        await on.sh(`iptables-${tables} -t nat -I PREROUTING -j KUBE-SERVICES`);
        // Legacy tables are compared as far as they are ours; of nf_tables' the rules are read again.
        const { looks, lastLookMs, lastCheck } = await eventually(
          () => {
            const now = keeper.facts();
            const isLooked = means === "legacy" ? now.looks > before.looks + 1 : now.checks > before.checks;
            return isLooked ? now : undefined;
          },
          { within: 20_000, what: "the change is looked at" },
        );
        expect(looks).toBeGreaterThan(before.looks);
        return ((means === "legacy" ? lastLookMs : lastCheck?.durationMs) ?? Number.POSITIVE_INFINITY) < RESYNC_MS;
      },
      { within: 30_000, what: `a resync takes less than ${RESYNC_MS} ms` },
    );
    if (means === "legacy") expect(keeper.facts()).toMatchObject({ checks, forks });
    await keeper.stop();
  });
});
