import { type Family, familiesOf } from "../../../net/family.ts";
import { type Check, error, type Finding, NotApplicable, ok, orOk, warning } from "../check.ts";
import { dotted, keep, sysctl } from "../sysctl.ts";

/** How the kernel is set. */

const FORWARDING: Readonly<Record<Family, string>> = {
  4: "net/ipv4/ip_forward",
  6: "net/ipv6/conf/all/forwarding",
};

/** @param value of the family's parameter; undefined where the kernel has none. Pure. */
export function judgeForwarding(family: Family, value: string | undefined): Finding {
  const name = dotted(FORWARDING[family]);
  if (value === undefined)
    return error(
      `the kernel has no ${name}: IPv${family} is not there`,
      `boot with IPv${family} (without ipv6.disable=1)`,
    );
  if (value === "0")
    return error(`${name} is 0, so this node passes nothing on between pods and others`, keep(`${name}=1`));
  return ok(`${name} is ${value}`);
}

const forwarding = (family: Family, name: string): Check => ({
  group: "Kernel",
  name,
  find: async (context) => {
    // Before there is a configuration, IPv4 is what is usual.
    const ranges = await context.network().then(
      (network) => familiesOf(network.ranges),
      () => [4 as const],
    );
    if (!ranges.some((one) => one === family)) throw new NotApplicable(`the pod network has no IPv${family}`);
    return [judgeForwarding(family, sysctl(FORWARDING[family]))];
  },
});

export interface ReversePathFacts {
  /** by interface: the larger of its own value and that of `all`, which is what counts */
  readonly interfaces: readonly { readonly name: string; readonly value: number }[];
  /** names of the interfaces by which this host reaches others over IPv4 */
  readonly uplinks: readonly string[];
}

const STRICT = 1;

/** Strict reverse path filtering loses packets that come in by another way than answers go. Pure. */
export function judgeReversePath({ interfaces, uplinks }: ReversePathFacts): readonly Finding[] {
  const strict = interfaces.filter(({ value }) => value === STRICT);
  const values = interfaces.map(({ name, value }) => `${name} ${value}`).join(", ");
  if (uplinks.length < 2)
    return [ok(`${values || "no interface is strict"}; with one way out strict filtering loses nothing`)];
  const findings = strict.map(({ name }) =>
    warning(
      `rp_filter is strict on ${name}, and this node has several interfaces (${uplinks.join(", ")}): packets whose answers ` +
        "would go another way are dropped",
      keep(`net.ipv4.conf.${name.replaceAll(".", "/")}.rp_filter=2`),
    ),
  );
  return orOk(findings, `no interface of the pod network is strict (${values})`);
}

const reversePath: Check = {
  group: "Kernel",
  name: "rp-filter",
  find: async (context) => {
    const network = await context.network();
    if (network.ranges[4] === undefined) throw new NotApplicable("the pod network has no IPv4");
    const external = await context.external();
    const { inventory, actual } = context.kernel();
    const names = [external.name, `flannel.${network.backend.vni}`];
    const all = Number(sysctl("net/ipv4/conf/all/rp_filter") ?? 0);
    const interfaces = names.flatMap((name) => {
      const value = sysctl(`net/ipv4/conf/${name}/rp_filter`);
      return value === undefined ? [] : [{ name, value: Math.max(all, Number(value)) }];
    });
    // What pods and the like are attached to leads nowhere else.
    const inner = new Set(
      [...actual.links.values()]
        .filter(({ kind, index }) => kind === "bridge" && index !== external.index)
        .map(({ name }) => name),
    );
    const uplinks = inventory.interfaces
      .filter(({ name }) => !inner.has(name))
      .filter(({ addresses }) => addresses.some(({ family, address }) => family === 4 && !address.startsWith("127.")))
      .map(({ name }) => name);
    return judgeReversePath({ interfaces, uplinks });
  },
};

/** Of the room for connections, beyond which a node is about to refuse new ones. */
const FULL_WARNING = 0.75;
const FULL_ERROR = 0.95;

/** Room in the table of tracked connections. Pure. */
export function judgeConntrack(count: number, max: number): Finding {
  const text = `${count} of ${max} tracked connections are in use`;
  if (max === 0) return ok(`${count} tracked connections, without a limit`);
  const fix = keep(`net.netfilter.nf_conntrack_max=${max * 2}`);
  if (count >= max * FULL_ERROR) return error(`${text}: new ones are dropped`, fix);
  if (count >= max * FULL_WARNING) return warning(text, fix);
  return ok(text);
}

const conntrack: Check = {
  group: "Kernel",
  name: "conntrack",
  find: () => {
    const [count, max] = ["count", "max"].map((what) => sysctl(`net/netfilter/nf_conntrack_${what}`));
    if (count === undefined || max === undefined) throw new NotApplicable("connections are not tracked here");
    return [judgeConntrack(Number(count), Number(max))];
  },
};

export const SYSCTL_CHECKS = [forwarding(4, "ip-forward"), forwarding(6, "ipv6-forwarding"), reversePath, conntrack];
