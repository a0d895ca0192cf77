import { describeError } from "../base/errors.ts";
import { Delegate } from "./delegate.ts";
import { type DelegateConf, delegateConf } from "./delegate-conf.ts";
import { type Attachment, readAttachment } from "./environment.ts";
import { CODE } from "./errors.ts";
import { readRecord, removeRecord } from "./records.ts";
import { inDelegatesVersion, note, type Request, withPrevResult } from "./request.ts";
import { readSubnetEnv } from "./subnet-env-file.ts";

/**
 * Calls the delegate's DEL with what its ADD was given, and forgets it (flannel: doCmdDel).
 * @throws CniError: the delegate's own; the record stays, for the next try
 */
export function del(request: Request): void {
  const { conf, environment } = request;
  const attachment = readAttachment(environment);
  const record = readRecord(conf.dataDir, attachment.containerId);
  if (record !== undefined && record !== "unreadable") {
    new Delegate(record.type, environment).call("DEL", delInput(record, request));
    // Two networks may share the data directory, where the later record took the earlier one's place.
    if (record.name !== conf.name) delWithoutRecord(request, attachment);
  } else delWithoutRecord(request, attachment);
  removeRecord(conf.dataDir, attachment.containerId);
}

/** The runtime's prevResult is in its configuration's version, which may have changed since ADD. */
function delInput(record: DelegateConf, { conf }: Request) {
  return record.cniVersion === conf.cniVersion ? withPrevResult(record, conf) : record;
}

/**
 * An earlier DEL, of another interface of the container, may have taken the record along, or somebody removed it. So the
 * delegate is called with what it would be given now. What fails then is no failure of a DEL, which has nothing to go by.
 */
function delWithoutRecord({ conf, environment }: Request, { containerId, ifName }: Attachment): void {
  try {
    const complete = delegateConf(conf, readSubnetEnv(conf.subnetFile, CODE.tryAgainLater));
    const delegate = new Delegate(complete.type, environment);
    delegate.call("DEL", withPrevResult(inDelegatesVersion(complete, delegate, conf), conf));
  } catch (error) {
    note(`DEL of ${ifName} of container ${containerId}, of which there is no record: ${describeError(error)}`);
  }
}
