import { describeError } from "../base/errors.ts";
import { Delegate } from "./delegate.ts";
import { type DelegateConf, delegateConf } from "./delegate-conf.ts";
import { CniError, CODE } from "./errors.ts";
import { givenAddresses, hostLocalFolder, usesHostLocal } from "./host-local.ts";
import { listRecords, readRecord, removeAbandoned, removeRecord } from "./records.ts";
import { inDelegatesVersion, note, type Request } from "./request.ts";
import { readSubnetEnv } from "./subnet-env-file.ts";

/** The interface that a runtime gives a pod, for a DEL of which nothing else is known. */
const USUAL_INTERFACE = "eth0";

/** A stale attachment and what to call the delegate with. */
interface Stale {
  readonly containerId: string;
  readonly ifName: string;
  readonly conf: DelegateConf;
}

/** Does one part; what it throws is told at the end. */
type Attempt = (what: string, action: () => void) => void;

/**
 * Releases what is held for attachments that the runtime does not know any more: those that have a record, and addresses
 * without one (the delegate of an ADD that was killed may go on after us, and after an earlier GC).
 * @throws CniError 103 that names all that could not be released; the rest is
 */
export function gc(request: Request): void {
  const { conf } = request;
  const valid = conf["cni.dev/valid-attachments"];
  if (valid == null)
    throw new CniError("GC needs cni.dev/valid-attachments in the configuration", { code: CODE.invalidConfig });
  const containers = new Set(valid.map(({ containerID }) => containerID));
  const isValid = (containerId: string, ifName: string | undefined) =>
    ifName === undefined
      ? containers.has(containerId)
      : valid.some((one) => one.containerID === containerId && one.ifname === ifName);
  const problems: string[] = [];

  /** What can't be released must not keep the rest. */
  const attempt: Attempt = (what, action) => {
    try {
      action();
    } catch (error) {
      problems.push(`${what}: ${describeError(error)}`);
    }
  };

  const records = recordsOf(request, attempt);
  for (const [containerId, record] of records) {
    if (containers.has(containerId)) continue;
    attempt(`container ${containerId}`, () => {
      const held = addressesIn(record).filter((given) => given.containerId === containerId);
      const ifNames = new Set(held.map(({ ifName }) => ifName ?? USUAL_INTERFACE));
      if (ifNames.size === 0) ifNames.add(USUAL_INTERFACE);
      for (const ifName of ifNames) release({ containerId, ifName, conf: record }, request);
      removeRecord(conf.dataDir, containerId);
    });
  }

  attempt("addresses without a record", () => {
    for (const stale of withoutRecord(request, records, isValid)) {
      attempt(`${stale.ifName} of container ${stale.containerId}`, () => release(stale, request));
    }
  });
  attempt("the delegate's own GC", () => forward(request, records));
  removeAbandoned(conf.dataDir);
  if (problems.length === 0) return;
  const details = problems.join("; ");
  throw new CniError(`GC of network ${conf.name} is not complete`, { code: CODE.notReleased, details });
}

/** The records of the configuration's network, by container. */
function recordsOf({ conf }: Request, attempt: Attempt): Map<string, DelegateConf> {
  const records = new Map<string, DelegateConf>();
  const take = (containerId: string): void => {
    const record = readRecord(conf.dataDir, containerId);
    if (record === "unreadable")
      note(`${conf.dataDir}/${containerId} can't be read; a DEL of the container removes it`);
    else if (record?.name === conf.name) records.set(containerId, record);
  };
  attempt("records", () => {
    for (const containerId of listRecords(conf.dataDir)) attempt(`container ${containerId}`, () => take(containerId));
  });
  return records;
}

function anyRecord(records: ReadonlyMap<string, DelegateConf>): DelegateConf | undefined {
  return records.values().next().value;
}

function addressesIn(conf: DelegateConf) {
  return usesHostLocal(conf) ? givenAddresses(hostLocalFolder(conf)) : [];
}

function withoutRecord(
  request: Request,
  records: ReadonlyMap<string, DelegateConf>,
  isValid: (containerId: string, ifName: string | undefined) => boolean,
): Stale[] {
  const { name, ipam } = request.conf;
  const network = { name, ipam: ipam ?? undefined };
  if (!usesHostLocal(network)) return [];
  const stale = new Map<string, Omit<Stale, "conf">>();
  for (const { containerId, ifName } of givenAddresses(hostLocalFolder(network))) {
    if (isValid(containerId, ifName)) continue;
    const one = { containerId, ifName: ifName ?? USUAL_INTERFACE };
    stale.set(`${one.containerId} ${one.ifName}`, one);
  }
  if (stale.size === 0) return [];
  // Any configuration of the network will do: a DEL looks for the container in all its ranges.
  const known = anyRecord(records) ?? currentConf(request);
  return [...stale.values()].map((one) => ({ ...one, conf: known }));
}

/** What an ADD would call the delegate with now. */
function currentConf({ conf, environment }: Request): DelegateConf {
  const complete = delegateConf(conf, readSubnetEnv(conf.subnetFile, CODE.tryAgainLater));
  return inDelegatesVersion(complete, new Delegate(complete.type, environment), conf);
}

/** Undefined without a subnet.env that can be used. */
function currentConfIfAny(request: Request): DelegateConf | undefined {
  try {
    return currentConf(request);
  } catch (error) {
    if (error instanceof CniError && error.code === CODE.tryAgainLater) return undefined;
    throw error;
  }
}

function release({ containerId, ifName, conf }: Stale, { environment }: Request): void {
  const delegate = new Delegate(conf.type, environment);
  // The network namespace is unknown, and gone or about to go, with what is in it.
  delegate.call("DEL", conf, { CNI_CONTAINERID: containerId, CNI_IFNAME: ifName, CNI_NETNS: "", CNI_ARGS: "" });
}

/** A delegate that has the verb may keep more than we can see. */
function forward(request: Request, records: ReadonlyMap<string, DelegateConf>): void {
  const { conf, environment } = request;
  const known = currentConfIfAny(request) ?? anyRecord(records);
  // Without either no pod was added since the node has booted.
  if (known === undefined) return;
  const delegate = new Delegate(known.type, environment);
  if (!delegate.supports(conf.version)) return;
  const valid = { "cni.dev/valid-attachments": conf["cni.dev/valid-attachments"] };
  delegate.call("GC", { ...known, cniVersion: conf.version, ...valid });
}
