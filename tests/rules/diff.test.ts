import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { compareChain, compareJumps, type Deviations } from "../../src/rules/compare.ts";
import { NO_RULES } from "../../src/rules/desired.ts";
import { diffIptables } from "../../src/rules/iptables-diff.ts";
import { diffNftables } from "../../src/rules/nftables-diff.ts";
import { CHAINS, chainText, type NftablesActual, TABLES } from "../../src/rules/nftables-text.ts";
import { prefix } from "../lease/samples.ts";
import { type IptablesWorld, readWorld, restore, runNft } from "./models.ts";
import { sampleRules } from "./samples.ts";

test.each<[string, string[] | undefined, Deviations]>([
  ["as it should be", ["a", "b", "c"], {}],
  ["no chain", undefined, { "chain missing": 1 }],
  ["empty", [], { "rule missing": 3 }],
  ["one deleted", ["a", "c"], { "rule missing": 1 }],
  ["two swapped", ["b", "a", "c"], { "rules reordered": 1 }],
  ["a duplicate", ["a", "b", "b", "c"], { "rule duplicated": 1 }],
  ["a foreign one before ours", ["x", "a", "b", "c"], { "rule foreign": 1 }],
  ["a foreign one behind ours", ["a", "b", "c", "x"], { "rule foreign": 1 }],
  ["one altered", ["a", "x", "c"], { "rule altered": 1 }],
  ["altered and swapped", ["c", "x", "a"], { "rule altered": 1, "rules reordered": 1 }],
  ["one twice, one gone", ["a", "a", "c"], { "rule duplicated": 1, "rule missing": 1 }],
])("a chain: %s", (_, actual, expected) => {
  expect(compareChain(["a", "b", "c"], actual)).toEqual(expected);
});

test.each<[string[], Deviations]>([
  [["j"], {}],
  [[], { "jump missing": 1 }],
  [["j", "j", "j"], { "jump doubled": 2 }],
  [["k"], { "jump altered": 1 }],
  [["k", "j"], { "jump altered": 1 }],
])("jumps: %j", (actual, expected) => {
  expect(compareJumps("j", actual)).toEqual(expected);
});

/** One of the rules of others, ours, or jumps to ours, to be strewn into a chain. */
const anyRule = fc.constantFrom(
  "",
  "-j ACCEPT",
  '-m comment --comment "flanneld masq" -j FLANNEL-POSTRTG',
  "-j FLANNEL-POSTRTG",
  "-o eth0 -g FLANNEL-FWD",
  '-m comment --comment "flanneld forward" -j FLANNEL-FWD',
  '-s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT',
  '-m comment --comment "flanneld masq" -m mark --mark 0x4000/0x4000 -j RETURN',
  '-m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN',
  "-j KUBE-FORWARD",
);
/** The rules that are there, at random: those of the right state are cut, doubled, moved, and mixed with others. */
const anyEdit = fc.record({
  chain: fc.nat(3),
  at: fc.nat(9),
  take: fc.nat(3),
  put: fc.array(anyRule, { maxLength: 2 }),
});
const anyFlags = fc.record({ masquerade: fc.boolean(), forward: fc.boolean(), randomFully: fc.boolean() });
const anyWorld = fc.record({
  flags: anyFlags,
  edits: fc.array(anyEdit, { maxLength: 6 }),
  gone: fc.array(fc.constantFrom("nat FLANNEL-POSTRTG", "filter FLANNEL-FWD"), { maxLength: 1 }),
});

const BARE: IptablesWorld = new Map([
  ["nat POSTROUTING", ["-j KUBE-POSTROUTING"]],
  ["filter FORWARD", ["-j DOCKER-USER"]],
]);

const rulesOf = (flags: Partial<Parameters<typeof sampleRules>[0]>) => sampleRules(flags)[4] ?? NO_RULES;

function worldOf({ flags, edits, gone }: typeof anyWorld extends fc.Arbitrary<infer T> ? T : never): IptablesWorld {
  const made = restore(BARE, diffIptables(rulesOf(flags), readWorld(BARE))?.input ?? "");
  const chains = [...made.values()];
  for (const { chain, at, take, put } of edits) chains[chain % chains.length]?.splice(at, take, ...put);
  const usable = gone.filter(
    (name) => ![...made.values()].flat().some((rule) => rule.endsWith(name.split(" ")[1] ?? "")),
  );
  for (const name of usable) made.delete(name);
  return made;
}

/** What is not ours: rules of the built-in chains that don't go to a chain of ours. */
const foreign = (world: IptablesWorld) =>
  [...BARE.keys()].map((name) => {
    const chain = name.startsWith("nat") ? "FLANNEL-POSTRTG" : "FLANNEL-FWD";
    return world.get(name)?.filter((rule) => !rule.endsWith(` ${chain}`));
  });

describe("iptables", () => {
  test("from any state, one input makes the rules those wanted, and leaves alone what is not ours", () => {
    fc.assert(
      fc.property(anyWorld, anyFlags, (given, flags) => {
        const world = worldOf(given);
        // A jump from one of our chains to the other is in the way of the other's removal; nobody's rules do that.
        fc.pre(
          ![...world].some(
            ([name, rules]) =>
              name.includes("FLANNEL") &&
              rules.some((rule) => rule.includes("-g FLANNEL") || rule.includes("-j FLANNEL")),
          ),
        );
        const wanted = rulesOf(flags);
        const change = diffIptables(wanted, readWorld(world));
        const after = restore(world, change?.input ?? "");
        expect(diffIptables(wanted, readWorld(after))).toBeUndefined();
        expect(foreign(after)).toEqual(foreign(world));
      }),
    );
  });

  test("a jump stays where it is when others insert before it, or append", () => {
    const world = restore(BARE, diffIptables(rulesOf({}), readWorld(BARE))?.input ?? "");
    world.get("nat POSTROUTING")?.unshift("-j OTHER");
    world.get("filter FORWARD")?.push("-j OTHER");
    expect(diffIptables(rulesOf({}), readWorld(world))).toBeUndefined();
  });

  test("of a jump that somebody doubled, the first one's place stays: the last may be behind a rule that rejects", () => {
    const right = restore(BARE, diffIptables(rulesOf({}), readWorld(BARE))?.input ?? "");
    const before = new Map([...right].map(([name, rules]) => [name, [...rules]]));
    const jump = right.get("filter FORWARD")?.at(-1) ?? "";
    before.get("filter FORWARD")?.push("-j REJECT", jump);
    before.get("filter FORWARD")?.unshift("-o eth0 -j FLANNEL-FWD", "-j OTHER");
    const after = restore(before, diffIptables(rulesOf({}), readWorld(before))?.input ?? "");
    expect(after.get("filter FORWARD")).toEqual(["-j OTHER", "-j DOCKER-USER", jump, "-j REJECT"]);
  });

  test("a jump that somebody altered comes back to its place", () => {
    const right = restore(BARE, diffIptables(rulesOf({}), readWorld(BARE))?.input ?? "");
    right.get("filter FORWARD")?.unshift("-j OTHER");
    right.get("filter FORWARD")?.push("-j REJECT");
    const before = new Map([...right].map(([name, rules]) => [name, [...rules]]));
    for (const rules of before.values()) {
      for (const [at, rule] of rules.entries()) if (/ -j FLANNEL-/.test(rule)) rules[at] = `-o eth0 ${rule}`;
    }
    const change = diffIptables(rulesOf({}), readWorld(before));
    expect(change?.deviations).toEqual({ "jump altered": 2 });
    expect(restore(before, change?.input ?? "")).toEqual(right);
  });

  test("rules of another network are replaced, and removed when none are wanted", () => {
    const old = restore(BARE, diffIptables(rulesOf({}), readWorld(BARE))?.input ?? "");
    const other = sampleRules({ subnets: { 4: prefix("10.244.9.0/24") } })[4];
    const change = diffIptables(other ?? NO_RULES, readWorld(old));
    expect(change?.input).not.toContain("10.244.5.0");
    expect(change?.deviations).toEqual({ "rule altered": 3 });
    expect(restore(old, diffIptables(NO_RULES, readWorld(old))?.input ?? "")).toEqual(BARE);
  });
});

const table = `${TABLES[4].family} ${TABLES[4].name}`;
const anyNftEdit = fc.record({
  chain: fc.nat(2),
  at: fc.nat(9),
  take: fc.nat(3),
  put: fc.array(fc.constantFrom("accept", "jump other", "ip saddr 10.244.0.0/16 accept"), { maxLength: 2 }),
});
const anyTable = fc.record({
  flags: anyFlags,
  off: fc.boolean(),
  edits: fc.array(anyNftEdit, { maxLength: 5 }),
  sets: fc.uniqueArray(fc.constantFrom("mine", "yours")),
  gone: fc.array(fc.constantFrom("postrtg", "forward"), { maxLength: 1 }),
  hooked: fc.option(
    fc.constantFrom(
      "type filter hook forward priority -5 policy accept",
      "type filter hook forward priority 0 policy drop",
    ),
  ),
});

describe("nftables", () => {
  test("from any state, one transaction makes the table that is wanted", () => {
    fc.assert(
      fc.property(fc.option(anyTable), anyFlags, fc.boolean(), (given, flags, comments) => {
        const options = { comments };
        let actual: NftablesActual | undefined;
        if (given !== null) {
          const made = runNft(
            undefined,
            table,
            diffNftables({ 4: rulesOf({ ...given.flags, forward: true }) }, {}, options)?.commands ?? "",
          );
          const chains = new Map([
            ...(made?.chains ?? []),
            ["other", { properties: "type undefined", rules: ["accept"] }],
          ]);
          for (const { chain, at, take, put } of given.edits) {
            const rules = [...chains.values()][chain % chains.size]?.rules as string[];
            rules.splice(at, take, ...put);
          }
          for (const name of given.gone) chains.delete(name);
          const forward = chains.get("forward");
          if (forward && given.hooked) chains.set("forward", { ...forward, properties: given.hooked });
          actual = { flags: given.off, chains, objects: given.sets.map((name) => ({ kind: "set", name })) };
        }
        const wanted = { 4: rulesOf(flags) };
        const change = diffNftables(wanted, actual ? { 4: actual } : {}, options);
        const after = runNft(actual, table, change?.commands ?? "");
        expect(diffNftables(wanted, after ? { 4: after } : {}, options)).toBeUndefined();
        expect(after?.objects ?? []).toEqual([]);
        expect([...(after?.chains.keys() ?? [])].sort()).toEqual([
          ...(flags.forward ? ["forward"] : []),
          ...(flags.masquerade ? ["postrtg"] : []),
        ]);
      }),
    );
  });

  test("a chain that is hooked elsewhere is made anew in the same transaction", () => {
    const chain = { properties: chainText(CHAINS.forward).replace("priority 0", "priority 10"), rules: ["accept"] };
    const change = diffNftables(
      { 4: rulesOf({ masquerade: false }) },
      { 4: { flags: false, chains: new Map([["forward", chain]]), objects: [] } },
      { comments: false },
    );
    expect(change?.commands.split("\n").slice(0, 3)).toEqual([
      "flush chain ip flannel-ipv4 forward",
      "delete chain ip flannel-ipv4 forward",
      "add chain ip flannel-ipv4 forward { type filter hook forward priority 0 ; policy accept ; }",
    ]);
    expect(change?.deviations[4]).toMatchObject({ "chain altered": 1 });
  });
});
