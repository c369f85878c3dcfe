use crate::Result;
use crate::entropy::*;
use crate::frame::Frame;
#[derive(Default)]
pub struct LoopFilter;
#[derive(Clone, PartialEq, Debug)]
pub struct FilterParams;
#[derive(Clone)]
pub struct FilterCoder;
impl LoopFilter {
    pub fn estimate(&mut self, _o: &Frame, _d: &Frame, _s: (usize, usize), _c: &FilterCoder, _l: f64) -> Option<FilterParams> {
        None
    }
    pub fn apply(&mut self, _p: &FilterParams, _d: (usize, usize), _f: &mut Frame, _t: usize) {}
}
impl FilterCoder {
    pub fn new(_w: usize, _h: usize) -> Self {
        Self
    }
    pub fn encode(&mut self, _p: Option<&FilterParams>, _w: &mut SymbolWriter) {}
    pub fn decode(&mut self, _r: &mut SymbolReader) -> Result<Option<FilterParams>> {
        Ok(None)
    }
}
