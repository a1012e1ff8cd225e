// What a dashboard of ours may hold, put together from Grafana's own types.
import type {
  Dashboard,
  DataQuery,
  FieldConfig,
  FieldConfigSource,
  GridPos,
  Panel,
  RowPanel,
} from '@grafana/schema';
import type { Options as BarGauge } from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type {
  FieldConfig as StateTimelineField,
  Options as StateTimeline,
} from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type {
  FieldConfig as TableField,
  Options as Table,
} from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type {
  FieldConfig as TimeSeriesField,
  Options as TimeSeries,
} from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// JSON has the values of enums, not their names.
type Plain<T> = T extends string
  ? `${T}`
  : T extends number
    ? `${T}` extends `${infer N extends number}` ? N : never
    : T extends (infer U)[]
      ? Plain<U>[]
      : T extends object
        ? { [K in keyof T]: Plain<T[K]> }
        : T;

// The Prometheus data source's query. Its type is not part of @grafana/schema.
interface PromQuery extends DataQuery {
  editorMode: 'code' | 'builder';
  expr: string;
  format: 'time_series' | 'table' | 'heatmap';
  instant: boolean;
  legendFormat: string;
  range: boolean;
}

type Standard = Omit<FieldConfig, 'custom'>;
type Property<T, Prefix extends string> = {
  [K in keyof T & string]-?: { id: `${Prefix}${K}`; value: NonNullable<T[K]> };
}[keyof T & string];

// A panel with the options and field settings of its kind, and with all that
// every panel of ours has.
type Of<Kind extends string, Options, Field> = Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> & {
  type: Kind;
  id: number;
  title: string;
  description: string;
  gridPos: GridPos;
  options: Options;
  targets: PromQuery[];
  fieldConfig: {
    defaults: Standard & { custom?: Field };
    overrides: Array<{
      matcher: FieldConfigSource['overrides'][number]['matcher'];
      properties: Array<Property<Standard, ''> | Property<Field, 'custom.'>>;
    }>;
  };
};

type AnyPanel =
  | RowPanel
  | Of<'bargauge', BarGauge, never>
  | Of<'stat', Stat, never>
  | Of<'state-timeline', StateTimeline, StateTimelineField>
  | Of<'table', Table, TableField>
  | Of<'timeseries', TimeSeries, TimeSeriesField>;

export type DashboardFile = Plain<Omit<Dashboard, 'panels'> & { panels: AnyPanel[] }>;
