import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { sleep } from "../base/backoff.ts";
import { hasCode } from "../base/errors.ts";
import { parseSubnetEnv, type SubnetEnv } from "../config/subnet-env.ts";
import { CniError } from "./errors.ts";

/** milliseconds: how long a pod may wait for the agent of a node that has just booted, and how often it looks */
const PATIENCE_MS = 5_000;
const LOOK_MS = 50;

const AGENT_API = "http://127.0.0.1:8285/readyz";

/** @throws CniError with `code`, which says which agent to look at */
export function readSubnetEnv(path: string, code: number): SubnetEnv {
  try {
    return parseSubnetEnv(readFileSync(path, "utf8"));
  } catch (cause) {
    const missing = hasCode(cause, "ENOENT");
    const details =
      `the agent of node ${hostname()} (tartan or flanneld; in Kubernetes its pod in kube-flannel) writes this file once ` +
      `it has a lease: look at the agent's log, of tartan also at ${AGENT_API}`;
    throw new CniError(`pods have no subnet yet: ${path} ${missing ? "is missing" : "can't be used"}`, {
      code,
      details,
      cause,
    });
  }
}

/** Waits for the agent, which may start together with the first pods. @throws CniError with `code` after 5 s */
export async function awaitSubnetEnv(path: string, code: number): Promise<SubnetEnv> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return readSubnetEnv(path, code);
    } catch (error) {
      if (performance.now() >= deadline) throw error;
    }
    await sleep(LOOK_MS);
  }
}
