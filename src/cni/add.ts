import type { JsonObject } from "./conf.ts";
import { Delegate } from "./delegate.ts";
import { type DelegateConf, delegateConf } from "./delegate-conf.ts";
import { readAttachment } from "./environment.ts";
import { CniError, CODE } from "./errors.ts";
import { hostLocalFolder } from "./host-local.ts";
import { writeRecord } from "./records.ts";
import { inDelegatesVersion, type Request, withPrevResult } from "./request.ts";
import { awaitSubnetEnv } from "./subnet-env-file.ts";

/** @returns the result, for stdout. @throws CniError: 11 while the agent has no subnet, or the delegate's own */
export async function add({ conf, environment }: Request): Promise<JsonObject> {
  const { containerId } = readAttachment(environment);
  const env = await awaitSubnetEnv(conf.subnetFile, CODE.tryAgainLater);
  const complete = delegateConf(conf, env);
  const delegate = new Delegate(complete.type, environment);
  const spoken = inDelegatesVersion(complete, delegate, conf);
  writeRecord(conf.dataDir, containerId, spoken);
  // A failed ADD is followed by a DEL, which needs the record.
  const result = addWithAdvice(delegate, spoken, withPrevResult(spoken, conf));
  return conf.cniVersion === undefined ? result : { ...result, cniVersion: conf.cniVersion };
}

function addWithAdvice(delegate: Delegate, conf: DelegateConf, input: JsonObject): JsonObject {
  try {
    return delegate.add(input);
  } catch (cause) {
    if (!(cause instanceof CniError) || !/no IP addresses available/.test(cause.message)) throw cause;
    const advice =
      `every address of this node's subnet is given out: ${hostLocalFolder(conf)} has a file for each with its ` +
      "container; those of containers that are gone are released by the CNI verb GC, or by removing the file";
    const details = cause.details === "" ? advice : `${cause.details}; ${advice}`;
    throw new CniError(cause.message, { code: cause.code, details, cause });
  }
}
