import { describe, expect, test } from "bun:test";
import { FAMILIES, type Family } from "../../src/net/family.ts";
import { NO_RULES, PARTS } from "../../src/rules/desired.ts";
import { diffIptables } from "../../src/rules/iptables-diff.ts";
import { canonicalSpec, jumpSpec, PLACES, parseListing, ruleSpec } from "../../src/rules/iptables-text.ts";
import { diffNftables } from "../../src/rules/nftables-diff.ts";
import { CHAINS, ruleText } from "../../src/rules/nftables-text.ts";
import { FLANNEL_IPTABLES, FLANNEL_NFTABLES, plainly } from "./flannel.ts";
import { sampleRules } from "./samples.ts";

const FLAGS = [true, false].flatMap((masquerade) =>
  [true, false].flatMap((randomFully) => [true, false].map((forward) => ({ masquerade, randomFully, forward }))),
);
const CASES = FAMILIES.flatMap((family) => FLAGS.map((flags) => [family, flags] as const));
const EMPTY = { masquerade: { rules: undefined, jumps: [] }, forward: { rules: undefined, jumps: [] } };

/** nft prints the mark's bits with all their digits. */
const asPrinted = (rule: string) => rule.replaceAll("0x4000", "0x00004000");

describe("the rules are those of flannel's source, in its chains and order", () => {
  test.each(CASES)("iptables, IPv%d, %j", (family, flags) => {
    const rules = sampleRules(flags)[family] ?? NO_RULES;
    const { nat, filter } = FLANNEL_IPTABLES[family];
    const expected = { masquerade: flags.masquerade ? nat : [], forward: flags.forward ? filter : [] };
    for (const part of PARTS) {
      const place = PLACES[part];
      const lines = rules[part].map((rule) => `-A ${place.chain} ${ruleSpec(rule, place)}`);
      const jump = rules[part].length > 0 ? [`-A ${place.hook} ${jumpSpec(place)}`] : [];
      expect([...jump, ...lines]).toEqual(flags.randomFully ? [...expected[part]] : plainly(expected[part]));
    }
  });

  test.each(CASES)("nftables, IPv%d, %j", (family, flags) => {
    const rules = sampleRules(flags)[family] ?? NO_RULES;
    const { postrtg, forward } = FLANNEL_NFTABLES[family];
    const expected = {
      masquerade: flags.masquerade ? postrtg.slice(1) : [],
      forward: flags.forward ? forward.slice(1) : [],
    };
    for (const part of PARTS) {
      const lines = rules[part].map((rule) => asPrinted(ruleText(rule, family)));
      expect(lines).toEqual(flags.randomFully ? expected[part] : plainly(expected[part]));
    }
    expect([CHAINS.masquerade.name, CHAINS.forward.name]).toEqual(["postrtg", "forward"]);
  });

  test.each<[readonly Family[]]>([[[4]], [[6]], [[4, 6]]])("for the families that the network has: %j", (families) => {
    expect(Object.keys(sampleRules({}, families)).map(Number)).toEqual([...families]);
  });
});

test("one input of iptables-restore makes the chains, then the jumps", () => {
  const change = diffIptables(sampleRules({ masquerade: false })[4] ?? NO_RULES, EMPTY);
  const [jump, ...rules] = FLANNEL_IPTABLES[4].filter;
  expect(change?.input).toBe(["*filter", ":FLANNEL-FWD - [0:0]", ...rules, jump, "COMMIT", ""].join("\n"));
  expect(change?.deviations).toEqual({ "chain missing": 1, "jump missing": 1 });
});

test("one transaction of nft makes both families' tables", () => {
  const change = diffNftables(sampleRules({ masquerade: false }), {}, { comments: true });
  expect(change?.commands).toBe(`add table ip flannel-ipv4 { comment "rules for flannel-ipv4" ; }
add chain ip flannel-ipv4 forward { type filter hook forward priority 0 ; policy accept ; comment "chain to accept flannel traffic" ; }
add rule ip flannel-ipv4 forward ip saddr 10.244.0.0/16 accept
add rule ip flannel-ipv4 forward ip daddr 10.244.0.0/16 accept
add table ip6 flannel-ipv6 { comment "rules for flannel-ipv6" ; }
add chain ip6 flannel-ipv6 forward { type filter hook forward priority 0 ; policy accept ; comment "chain to accept flannel traffic" ; }
add rule ip6 flannel-ipv6 forward ip6 saddr fd00:10:244::/56 accept
add rule ip6 flannel-ipv6 forward ip6 daddr fd00:10:244::/56 accept
`);
});

describe("what iptables prints", () => {
  const place = PLACES.masquerade;

  test("a listing of the chain and of a whole table say the same", () => {
    const rules = ["-s 10.0.0.0/8 -j ACCEPT", ""];
    const jumps = ["-j FLANNEL-POSTRTG", "-o eth0 -g FLANNEL-POSTRTG"];
    const ours = "-N FLANNEL-POSTRTG\n-A FLANNEL-POSTRTG -s 10.0.0.0/8 -j ACCEPT\n-A FLANNEL-POSTRTG\n";
    const hook = "-P POSTROUTING ACCEPT\n-A POSTROUTING -j FLANNEL-POSTRTG\n-A POSTROUTING -j KUBE-POSTROUTING\n";
    expect(parseListing(`${ours}${hook}-A POSTROUTING -o eth0 -g FLANNEL-POSTRTG\n`, place)).toEqual({
      rules,
      jumps,
      numbers: [1, 3],
    });
    const table = `*nat\n:POSTROUTING ACCEPT [1:60]\n:FLANNEL-POSTRTG - [0:0]\n${hook}${ours.split("\n").slice(1).join("\n")}`;
    expect(parseListing(`${table}-A POSTROUTING -o eth0 -g FLANNEL-POSTRTG\nCOMMIT\n`, place)).toEqual({
      rules,
      jumps,
      numbers: [1, 3],
    });
  });

  test("chains of others whose names begin like ours are not ours", () => {
    const text = "-N FLANNEL-POSTRTG-2\n-A FLANNEL-POSTRTG-2 -j RETURN\n-A POSTROUTING -j FLANNEL-POSTRTG-2\n";
    expect(parseListing(text, place)).toEqual({ rules: undefined, jumps: [] });
  });

  test("a comment that speaks of our chain is no jump to it", () => {
    const text = '-A POSTROUTING -m comment --comment "see -j FLANNEL-POSTRTG" -j ACCEPT\n';
    expect(parseListing(text, place).jumps).toEqual([]);
  });

  test.each([
    // The order of matches differs between versions.
    [
      "-m comment --comment x -m mark --mark 0x1 -j RETURN",
      "-m mark --mark 0x1 -m comment --comment x -j RETURN",
      true,
    ],
    ['-m comment --comment "a b" -j RETURN', '-m comment --comment "a  b" -j RETURN', false],
    ["! -s 10.0.0.0/8 -j RETURN", "-s 10.0.0.0/8 -j RETURN", false],
    ["-s 10.0.0.0/8 ! -d 10.0.0.0/8 -j RETURN", "! -s 10.0.0.0/8 -d 10.0.0.0/8 -j RETURN", false],
    ["-j MASQUERADE", "-j MASQUERADE --random-fully", false],
    ["-m mark ! --mark 0x1 -j RETURN", "-m mark --mark 0x1 -j RETURN", false],
  ])("%s and %s: the same is %p", (one, other, same) => {
    expect(canonicalSpec(one) === canonicalSpec(other)).toBe(same);
  });
});
