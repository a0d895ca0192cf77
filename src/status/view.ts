import { describeError } from "../base/errors.ts";
import type { Desired } from "../desired/desired.ts";
import type { Lease } from "../lease/lease.ts";
import { type Family, familiesOf } from "../net/family.ts";
import { formatPrefix } from "../net/prefix.ts";
import type { Facts, RulesFacts } from "./facts.ts";
import { readiness } from "./readiness.ts";

/** `/debug/state`: field names in lowerCamelCase, times in RFC 3339, durations in milliseconds. */
export function debugState(facts: Facts): object {
  const { network, external, source, own, snapshot, desired, loop, kernel } = facts;
  return {
    version: facts.version,
    node: facts.node ?? null,
    startedAt: time(facts.startedAt),
    uptimeMs: facts.now - facts.startedAt,
    readiness: readiness(facts),
    config: {
      flags: facts.flags,
      network: network
        ? Object.fromEntries(
            familiesOf(network.ranges).map((family) => {
              const range = network.ranges[family];
              return [familyName(family), range && { ...range, network: formatPrefix(range.network) }];
            }),
          )
        : null,
      backend: network?.backend ?? null,
      warnings: facts.networkWarnings,
    },
    externalInterface: external
      ? { ...external, addresses: Object.values(external.addresses), publicIPs: Object.values(external.publicIPs) }
      : null,
    leaseSource: {
      kind: source.kind,
      location: source.location,
      lastContactAt: time(source.contact.lastContactAt),
      error: source.contact.error ? describeError(source.contact.error) : null,
    },
    lease: own ? leaseView(own) : null,
    snapshotTakenAt: time(snapshot?.takenAt),
    leases: snapshot?.leases.map(leaseView) ?? [],
    rejectedLeases: snapshot?.rejected ?? [],
    leaseCounts: {
      used: snapshot?.leases.length ?? 0,
      rejected: snapshot?.rejected.length ?? 0,
      rejectedSinceStart: facts.rejections,
    },
    desired: desired ? desiredView(desired, facts.actual) : null,
    reconcile: {
      settled: kernel.settled,
      pruning: kernel.pruning,
      busySince: time(loop.busySince),
      turns: loop.turns,
      lastTurnAt: time(loop.lastTurnAt),
      failuresInARow: loop.failuresInARow,
      fullReads: kernel.fullReads,
      driftsFound: kernel.driftsFound,
      repaired: kernel.repaired,
    },
    lastApply: kernel.lastApply ? { ...kernel.lastApply, at: time(kernel.lastApply.at) } : null,
    failures: kernel.failures,
    cniConf: facts.cniConf ?? null,
    rules: rulesView(facts.rules),
  };
}

function familyName(family: Family): string {
  return `ipv${family}`;
}

function time(value: number | undefined): string | null {
  return value === undefined ? null : new Date(value).toISOString();
}

function leaseView(lease: Lease): object {
  return {
    key: lease.key,
    node: lease.node ?? null,
    backendType: lease.backendType,
    createdAt: time(lease.createdAt),
    expiresAt: time(lease.expiresAt),
    ...Object.fromEntries(
      familiesOf(lease.subnets).map((family) => {
        const subnet = lease.subnets[family];
        const vtep = lease.vteps[family];
        return [
          familyName(family),
          {
            subnet: subnet ? formatPrefix(subnet) : null,
            publicIP: lease.publicIPs[family] ?? null,
            vni: vtep?.vni ?? null,
            vtepMAC: vtep?.mac ?? null,
          },
        ];
      }),
    ),
  };
}

function rulesView({ inPlace, lastCheck, lastWrite, ...rules }: RulesFacts): object {
  return {
    mode: rules.mode,
    backend: rules.backend ?? null,
    version: rules.version ?? null,
    inPlace: Object.fromEntries(familiesOf(inPlace).map((family) => [familyName(family), inPlace[family] ?? false])),
    looks: rules.looks,
    lastLookMs: rules.lastLookMs ?? null,
    checks: rules.checks,
    forks: rules.forks,
    writes: rules.writes,
    repaired: rules.repaired,
    lastCheck: lastCheck ? { ...lastCheck, at: time(lastCheck.at) } : null,
    lastWrite: lastWrite ? { ...lastWrite, at: time(lastWrite.at) } : null,
    errors: rules.errors,
    warnings: rules.warnings,
  };
}

/** Entries are counted, not listed: with the leases they say what each peer has. */
function desiredView({ devices, routes, blackholes, skipped }: Desired, actual: Facts["actual"]): object {
  const onOff = (value: boolean | undefined) => (value === undefined ? null : value ? "on" : "off");
  const isOn = (device: string) => actual?.links.values().find(({ name }) => name === device)?.txChecksum;
  return {
    devices: devices.map(({ neighbours, forwarding, network, port, family, txChecksum, ...device }) => ({
      ...device,
      txChecksum: {
        wanted: onOff(txChecksum.wanted),
        actual: onOff(isOn(device.name)),
        why: txChecksum.why,
      },
      family: familyName(family),
      port: port ?? null,
      network: formatPrefix(network),
      neighbours: neighbours.size,
      forwarding: forwarding.size,
    })),
    routes: routes.size,
    blackholes: blackholes.map(formatPrefix),
    skipped,
  };
}
