import type { JsonObject, PluginConf } from "./conf.ts";
import type { Delegate } from "./delegate.ts";
import type { DelegateConf } from "./delegate-conf.ts";
import type { Environment } from "./environment.ts";

/** A call of the plugin: the configuration on stdin and the environment. */
export interface Request {
  readonly conf: PluginConf;
  readonly environment: Environment;
}

/** The configuration in the version that the delegate speaks. */
export function inDelegatesVersion(
  conf: DelegateConf,
  delegate: Delegate,
  { version, cniVersion }: PluginConf,
): DelegateConf {
  return cniVersion === undefined ? conf : { ...conf, cniVersion: delegate.versionFor(version) };
}

/** With the result of what ran before, as it came; its version has to be the configuration's. */
export function withPrevResult(conf: DelegateConf, { prevResult }: PluginConf): JsonObject {
  if (prevResult == null) return conf;
  const { cniVersion } = conf;
  return { ...conf, prevResult: cniVersion === undefined ? prevResult : { ...prevResult, cniVersion } };
}

/** Tells the operator, whose runtime logs stderr, what is no error of the call. */
export function note(text: string): void {
  process.stderr.write(`tartan: ${text}\n`);
}
