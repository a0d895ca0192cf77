// The image's bill of materials: SPDX 2.3 as JSON. https://spdx.github.io/spdx-spec/v2.3/
import { type Origin, timestamp } from "./config.ts";
import type { DebianPackage } from "./debian.ts";
import type { NpmPackage } from "./npm.ts";
import { type Platform, RUNTIME_VERSION } from "./platforms.ts";
import { IMAGE, REPOSITORY } from "./reference.ts";

/** Where it is in the image. */
export const SBOM = "usr/share/sbom/tartan.spdx.json";

const UNKNOWN = "NOASSERTION";
/** What an author's statement may consist of for us to hand it on: licence ids and operators. */
const EXPRESSION = /^[\w.+() -]+$/;

export interface Materials {
  readonly platform: Platform;
  readonly origin: Origin;
  readonly debian: readonly DebianPackage[];
  readonly npm: readonly NpmPackage[];
}

interface Item {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly license?: string | undefined;
  readonly supplier: string;
  readonly source?: string;
  readonly purl?: string;
  readonly checksum?: { readonly algorithm: "SHA256" | "SHA512"; readonly checksumValue: string };
  readonly comment?: string;
  readonly purpose: "CONTAINER" | "APPLICATION" | "LIBRARY";
}

/** @returns the JSON document; the same for the same materials */
export function sbom({ platform, origin, debian, npm }: Materials): string {
  const { architecture } = platform;
  const image = item("image", IMAGE, origin.version, {
    supplier: "Organization: tartan",
    purpose: "CONTAINER",
    purl: `pkg:oci/tartan?arch=${architecture}&repository_url=ghcr.io/${REPOSITORY}&tag=${IMAGE.slice(IMAGE.lastIndexOf(":") + 1)}`,
  });
  const tartan = item("tartan", "tartan", origin.version, {
    license: "Apache-2.0",
    supplier: "Organization: tartan",
    purpose: "APPLICATION",
  });
  const bun = item("bun", "bun", RUNTIME_VERSION, bunDetails(platform));
  const libraries = npm.map(npmItem);
  const system = debian.map(debianItem);
  const contains = (whole: Item, parts: readonly Item[]) =>
    parts.map(({ id }) => ({ spdxElementId: whole.id, relationshipType: "CONTAINS", relatedSpdxElement: id }));
  const content = {
    packages: [image, tartan, bun, ...libraries, ...system].map(written),
    relationships: [
      { spdxElementId: "SPDXRef-DOCUMENT", relationshipType: "DESCRIBES", relatedSpdxElement: image.id },
      ...contains(image, [tartan, ...system]),
      ...contains(tartan, [bun, ...libraries]),
    ],
  };
  // A document's name space must be no other document's.
  const digest = new Bun.CryptoHasher("sha256").update(JSON.stringify(content)).digest("hex");
  const document = {
    spdxVersion: "SPDX-2.3",
    dataLicense: "CC0-1.0",
    SPDXID: "SPDXRef-DOCUMENT",
    name: `tartan-image-${architecture}-${origin.version}`,
    documentNamespace: `https://spdx.org/spdxdocs/tartan-image-${architecture}-${digest}`,
    creationInfo: { created: timestamp(origin.epoch), creators: ["Tool: tartan-build.ts", "Organization: tartan"] },
    ...content,
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** @param id as far as the document's own; it may hold letters, digits, dots and dashes */
function item(id: string, name: string, version: string, details: Omit<Item, "id" | "name" | "version">): Item {
  return { id: `SPDXRef-${id.replace(/[^\w.-]|_/g, "-")}`, name, version, ...details };
}

function bunDetails({ runtime }: Platform) {
  return {
    license: "MIT",
    supplier: "Organization: Oven",
    source: `https://registry.npmjs.org/${runtime.package}/-/${runtime.package.slice("@oven/".length)}-${RUNTIME_VERSION}.tgz`,
    purl: purlOfNpm(runtime.package, RUNTIME_VERSION),
    checksum: checksumOf(runtime.integrity),
    comment: `It links JavaScriptCore (LGPL-2.0) and others: https://github.com/oven-sh/bun/blob/bun-v${RUNTIME_VERSION}/LICENSE.md`,
    purpose: "APPLICATION",
  } as const;
}

function npmItem({ name, version, integrity, license, path }: NpmPackage): Item {
  return item(`npm-${path.replaceAll("node_modules/", "")}-${version}`, name, version, {
    license,
    supplier: UNKNOWN,
    source: `https://registry.npmjs.org/${name}/-/${name.replace(/^@[^/]+\//, "")}-${version}.tgz`,
    purl: purlOfNpm(name, version),
    checksum: checksumOf(integrity),
    purpose: "LIBRARY",
  });
}

function debianItem({ name, version, architecture, sha256 }: DebianPackage): Item {
  return item(`debian-${name}`, name, version, {
    supplier: "Organization: Debian",
    purl: `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=${architecture}&distro=debian-12`,
    checksum: { algorithm: "SHA256", checksumValue: sha256 },
    comment: `Files of it are in the image; its licence is in /usr/share/doc/${name}/copyright.`,
    purpose: "LIBRARY",
  });
}

function purlOfNpm(name: string, version: string): string {
  return `pkg:npm/${name.replace("@", "%40")}@${version}`;
}

function checksumOf(integrity: string) {
  const base64 = integrity.replace(/^sha512-/, "");
  return { algorithm: "SHA512", checksumValue: Buffer.from(base64, "base64").toString("hex") } as const;
}

function written({ id, name, version, license, supplier, source, purl, checksum, comment, purpose }: Item) {
  return {
    SPDXID: id,
    name,
    versionInfo: version,
    supplier,
    downloadLocation: source ?? UNKNOWN,
    filesAnalyzed: false,
    licenseConcluded: UNKNOWN,
    licenseDeclared: license !== undefined && EXPRESSION.test(license) ? license : UNKNOWN,
    copyrightText: UNKNOWN,
    primaryPackagePurpose: purpose,
    ...(checksum === undefined ? {} : { checksums: [checksum] }),
    ...(purl === undefined
      ? {}
      : { externalRefs: [{ referenceCategory: "PACKAGE-MANAGER", referenceType: "purl", referenceLocator: purl }] }),
    ...(comment === undefined ? {} : { comment }),
  };
}
