// Writes the dashboard as TypeScript, since what TypeScript imports from a JSON
// file loses its literal types, and with them the check of names and values.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

const file = new URL('../dashboards/huawei-iot-batch.json', import.meta.url);
const folder = new URL('generated/', import.meta.url);
mkdirSync(folder, { recursive: true });
writeFileSync(
  new URL('dashboard.ts', folder),
  `import type { DashboardFile } from '../types';\n\nexport const dashboard = ${readFileSync(file, 'utf8').trim()} satisfies DashboardFile;\n`,
);
