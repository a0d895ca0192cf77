import type * as v from "valibot";
import type * as api from "../../api/kernel.ts";
import { nameChange } from "../../kernel/changes.ts";
import type { Operation } from "../../kernel/operations.ts";
import { familyOfDevice, isOwnDevice } from "../../kernel/owned.ts";
import type { Link } from "../../kernel/state.ts";
import { familyOf } from "../../net/address.ts";
import type { Family } from "../../net/family.ts";
import { formatPrefix } from "../../net/prefix.ts";
import type { ApplyFacts, Facts } from "../facts.ts";
import type { Shown } from "../items.ts";
import type { Question } from "../question.ts";
import { desiredDeviceView, kernelDeviceView } from "./device.ts";
import { asked, blackholesOf, desiredEntries, kernelEntries, keysOf } from "./entries.ts";
import { leaseOf } from "./leases.ts";
import { pageOf } from "./page.ts";
import { duration, familyNamed, time } from "./values.ts";

function askedLease(facts: Facts, { query }: Question) {
  return query.node === undefined ? undefined : (leaseOf(facts, query.node) ?? "none");
}

export async function desiredView(facts: Facts, question: Question): Promise<Shown<typeof api.Desired>> {
  const { desired, actual } = facts;
  const entries = desired === undefined ? [] : asked(desiredEntries(desired), question, askedLease(facts, question));
  return {
    ...(await pageOf(entries, question, (entry) => entry.view())),
    devices: desired?.devices.map((device) => desiredDeviceView(device, actual)) ?? [],
    blackholes: desired?.blackholes.map(formatPrefix) ?? [],
    networks: Object.values(desired?.networks ?? {}).map(formatPrefix),
  };
}

export async function kernelView(facts: Facts, question: Question): Promise<Shown<typeof api.KernelState>> {
  const { actual, kernel } = facts;
  const entries = actual === undefined ? [] : asked(kernelEntries(actual), question, askedLease(facts, question));
  const links: readonly Link[] = actual?.links.values().filter(isOwnDevice).toArray() ?? [];
  return {
    ...(await pageOf(entries, question, (entry) => entry.view())),
    devices: links.flatMap(({ vxlan, ...link }) =>
      vxlan === undefined || actual === undefined ? [] : [kernelDeviceView({ ...link, vxlan }, actual)],
    ),
    blackholes: actual === undefined ? [] : blackholesOf(actual),
    fullReads: kernel.fullReads,
  };
}

export async function diffView(facts: Facts, question: Question): Promise<Shown<typeof api.Diff>> {
  const { settled, pruning } = facts.kernel;
  const { family } = question.query;
  const operations = facts.diff();
  const wanted = family && familyNamed(family);
  const lease = askedLease(facts, question);
  const keys = lease && keysOf(lease);
  const isAsked = (operation: Operation) =>
    (wanted === undefined || familyOfOperation(operation, facts) === wanted) &&
    (keys === undefined || keys.has(entryOf(operation)));
  const page = await pageOf(operations.filter(isAsked), question, nameChange);
  return { ...page, settled: settled && operations.length === 0, pruning };
}

/** The entry that it is about, as `keysOf` has them; an empty text where that is no entry of a node. */
function entryOf(operation: Operation): string {
  switch (operation.kind) {
    case "route-replace":
    case "route-delete":
      return `route ${formatPrefix(operation.destination)}`;
    case "neighbour-replace":
    case "neighbour-delete":
      return `neighbour ${operation.address}`;
    case "forwarding-replace":
    case "forwarding-delete":
      return `forwarding ${operation.mac}`;
    default:
      return "";
  }
}

function familyOfOperation(operation: Operation, { actual }: Pick<Facts, "actual">): Family {
  switch (operation.kind) {
    case "route-replace":
    case "route-delete":
    case "blackhole-replace":
    case "blackhole-delete":
      return operation.destination.family;
    case "address-add":
    case "address-delete":
    case "neighbour-replace":
    case "neighbour-delete":
      return familyOf(operation.address);
    case "link-add":
      return operation.device.family;
    case "link-change":
    case "link-delete":
    case "offload-change":
    case "forwarding-replace":
    case "forwarding-delete": {
      const link = actual?.links.get(operation.index);
      return link === undefined ? 4 : familyOfDevice(link);
    }
  }
}

/** Of what may be as many as all peers' entries: one document has all that it tells in one piece. */
export function firstOf<T>(list: readonly T[]): T[] {
  return list.slice(0, 100);
}

export function applyView({ at, durationMs, cause, done, failures }: ApplyFacts): v.InferOutput<typeof api.Apply> {
  return { at: time(at), durationMs: duration(durationMs), cause, done: { ...done }, failures: firstOf(failures) };
}
