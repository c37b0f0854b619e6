// What the JSON of a dashboard may hold: Grafana's published types, without the places where they
// let anything pass. test_dashboards.py writes each dashboard as constants of these types.

import type {
  Dashboard,
  DataQuery,
  DataSourceRef,
  FieldConfig,
  MatcherConfig,
  Panel,
  RowPanel,
} from "@grafana/schema";
import type * as BarGauge from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type * as Stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as StateTimeline from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type * as Table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as TimeSeries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// JSON has an enumeration's values, which TypeScript does not take for its members.
type Plain<T> = unknown extends T
  ? T
  : T extends string
    ? `${T}`
    : T extends number | boolean | null | undefined
      ? T
      : T extends readonly (infer Item)[]
        ? Plain<Item>[]
        : { [Key in keyof T]: Plain<T[Key]> };

// The query of the Prometheus data source; a plug-in's own types are not in the schema.
interface Query extends DataQuery {
  datasource: DataSourceRef;
  editorMode: "code";
  expr: string;
  format: "time_series" | "table";
  instant: boolean;
  legendFormat: string;
  range: boolean;
}

interface Override<Custom> {
  matcher: MatcherConfig;
  properties: (Property<Omit<FieldConfig, "custom">, ""> | Property<Custom, "custom.">)[];
}

type Property<Config, Prefix extends string> = {
  [Key in keyof Config & string]-?: { id: `${Prefix}${Key}`; value: NonNullable<Config[Key]> };
}[keyof Config & string];

type NoCustom = Record<string, never>;

interface Of<Type extends string, Options, Custom>
  extends Omit<Panel, "fieldConfig" | "options" | "targets" | "type"> {
  fieldConfig: {
    defaults: Omit<FieldConfig, "custom"> & { custom?: Custom };
    overrides: Override<Custom>[];
  };
  options: Options;
  targets: Query[];
  type: Type;
}

// A panel of another type is refused until it stands here with the types of its plug-in.
interface Panels {
  bargauge: Of<"bargauge", BarGauge.Options, NoCustom>;
  row: Omit<RowPanel, "panels"> & { panels: [] };
  stat: Of<"stat", Stat.Options, NoCustom>;
  "state-timeline": Of<"state-timeline", StateTimeline.Options, StateTimeline.FieldConfig>;
  table: Of<"table", Table.Options, Table.FieldConfig>;
  timeseries: Of<"timeseries", TimeSeries.Options, TimeSeries.FieldConfig>;
}

export type PanelOf<Type extends keyof Panels> = Plain<Panels[Type]>;
export type DashboardWithoutPanels = Plain<Omit<Dashboard, "panels">>;
