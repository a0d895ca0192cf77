import { afterEach, beforeAll, expect, test } from "bun:test";
import { executable } from "../support/executable.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { agentOf, completeLab, endLabs, startLab, tracesOf } from "./running-lab.ts";

const FAMILIES = { "4": [4], "6": [6], "46": [4, 6] } as const;
const SUBNETS = { 4: /^10\.244\.\d+\.0\/24$/, 6: /^fd00:10:244:[0-9a-f]+::\/64$/ } as const;
const UNDERLAY = { 4: "192.0.2.", 6: "2001:db8::" } as const;
const CAPTURES = {
  4: /^\S+ IP 192\.0\.2\.\S+ > 192\.0\.2\.\S+: VXLAN, .*: IP 10\.244\.\S+ > 10\.244\.\S+: ICMP echo request, /,
  6: /^\S+ IP6 2001:db8::\S+ > 2001:db8::\S+: VXLAN, .*: IP6 fd00:10:244:\S+ > fd00:10:244:\S+: ICMP6, echo request, /,
} as const;

describeInNamespaces("tartan lab: families and rules", () => {
  beforeAll(() => void executable());
  afterEach(endLabs);

  for (const family of ["4", "6", "46"] as const) {
    for (const rules of ["iptables", "nft"] as const) {
      test(`--family ${family} --rules ${rules}: every pair and the outside reached, nothing left`, async () => {
        const { nodes, capture } = await completeLab("--family", family, "--rules", rules);
        for (const node of nodes) {
          expect(node.rules).toMatch(rules === "nft" ? /^nftables$/ : /^iptables-(nft|legacy)$/);
          expect(node.families.map((one) => one.family)).toEqual([...FAMILIES[family]]);
          for (const one of node.families) {
            expect(one.subnet).toMatch(SUBNETS[one.family]);
            expect(one.publicIP).toStartWith(UNDERLAY[one.family]);
          }
        }
        const lines = capture?.split("\n") ?? [];
        expect(lines).toHaveLength(FAMILIES[family].length);
        for (const [at, one] of FAMILIES[family].entries()) expect(lines[at]).toMatch(CAPTURES[one]);
      });
    }
  }

  test("without br_netfilter, which iptables needs: one line says what to do, and nothing is made", async () => {
    const script = `mount -t tmpfs none /proc/sys/net/bridge; exec ${executable()} lab --nodes=2 --once -o json "$@"`;
    const labOf = async (...args: readonly string[]) => {
      const command = ["unshare", "--mount", "sh", "-ec", script, "sh", ...args];
      const child = Bun.spawn(command, { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
      return { stderr: await child.stderr.text(), code: await child.exited };
    };
    expect(await labOf("--rules=iptables")).toEqual({
      code: 1,
      stderr:
        "tartan: /proc/sys/net/bridge/bridge-nf-call-iptables is missing, and rules by iptables need it: " +
        "modprobe br_netfilter, or --rules nft\n",
    });
    // Not given, it is nft.
    expect(await labOf()).toMatchObject({ code: 0 });
  });

  test("a node that does not masquerade, and one that does it too often, are told and in the exit code", async () => {
    // Six nodes: their pairs keep the lab busy while the rules are spoilt.
    const lab = startLab("--nodes=6", "--family=46", "--rules=nft", "--once", "-o", "json");
    const id = await lab.id();
    await lab.tells("lab: attaching a pod");
    process.kill(lab.child.pid, "SIGSTOP");
    expect(lab.stderr).not.toContain("lab: pinging the outside");
    process.kill(await agentOf(id), "SIGSTOP");
    const nft = async (node: string, ...commands: readonly string[]) => {
      const command = ["nsenter", `--net=/run/netns/tartan-lab-${id}-${node}`, "nft", commands.join("; ")];
      expect(await Bun.spawn(command).exited).toBe(0);
    };
    await nft("n1", "delete table ip flannel-ipv4", "delete table ip6 flannel-ipv6");
    await nft(
      "n2",
      "add table inet more",
      "add chain inet more out { type nat hook postrouting priority 90; }",
      "add rule inet more out oifname cni0 masquerade",
    );
    process.kill(lab.child.pid, "SIGCONT");
    expect(await lab.end()).toBe(1);
    const { outside, nodes } = lab.document();
    for (const { node, family, direction, ok, reached, sourceSeen } of outside) {
      const isOut = direction === "out";
      const subnet = nodes.find(({ name }) => name === node)?.families.find((one) => one.family === family)?.subnet;
      const within = subnet?.replace(/0?\/\d+$/, "") ?? "";
      if (node === "n1" && isOut) expect([ok, reached, sourceSeen]).toEqual([false, false, `${within}2`]);
      else if (node === "n2" && !isOut) expect([ok, reached, sourceSeen]).toEqual([false, true, `${within}1`]);
      else expect([node, direction, ok]).toEqual([node, direction, true]);
    }
    expect(tracesOf(id)).toEqual([]);
  });
});
